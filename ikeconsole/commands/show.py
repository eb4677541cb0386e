"""status, services, servers, sessions: the engine's tables, once or again and again."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from engine.control.records import SessionQuery
from engine.control.status import EngineStatus, ServerStatus
from ikeconsole.client import ControlClient
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_json, terminal
from ikeconsole.exits import Exit
from ikeconsole.render.servers import servers
from ikeconsole.render.services import services
from ikeconsole.render.sessions import sessions
from ikeconsole.render.status import status

SORTS = ("age", "idle", "client", "server", "service", "phase", "vendor", "bytes_in", "bytes_out", "path", "why", "spi")
PHASES = ("init", "cookie", "auth", "established", "idle", "moved")
_LEAST_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class View:
    """What one command asks for, prints as JSON and draws."""

    fetch: Callable[[ControlClient], Awaitable[Any]]
    records: Callable[[Any], object]
    draw: Callable[[Any, int], RenderableType]


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """How to show it, and for sessions which."""
    add_json(parser)
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        const=1.0,
        metavar="SECONDS",
        help="refresh every second, or every SECONDS",
    )
    if command in _NAMES:
        parser.add_argument("--names", action="store_true", help="print the names alone, one a line")
    if command == "sessions":
        parser.add_argument(
            "filter",
            nargs="*",
            metavar="FILTER",
            help="such as server:rras-1 phase:auth 203.0.113.0/24 idle>60s in>100M '!pinned'; all must hold, "
            "of several with the same key one",
        )
        parser.add_argument("--client", metavar="ADDR", help="of this client address or prefix")
        parser.add_argument("--server", metavar="NAME", help="on this real server")
        parser.add_argument("--service", metavar="NAME", help="of this service")
        parser.add_argument("--spi", metavar="HEX", help="with an SPI that begins so")
        parser.add_argument("--phase", choices=PHASES, help="in this phase")
        parser.add_argument("--vendor", metavar="NAME", help="whose client's product begins so; - for those unknown")
        parser.add_argument("--error", metavar="NAME", help="whose last error has this in its name; '*' for any")
        parser.add_argument(
            "--sort",
            choices=[*SORTS, *(f"-{key}" for key in SORTS)],
            default="age",
            metavar="KEY",
            help=f"by {', '.join(SORTS)}; --sort=-KEY for the largest first",
        )
        parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most N sessions (100)")
        parser.add_argument("--offset", type=int, default=0, metavar="N", help="leave out the first N")


def execute(options: Namespace) -> int:
    """Print the table or the records, again and again with --watch."""
    view = _view(options)
    if options.watch is not None:
        from ikeconsole.commands.watching import watch

        watch(options, view)
        return Exit.OK
    answer = ask(options, view.fetch)
    if options.command in _NAMES and options.names:
        print("\n".join(_NAMES[options.command](answer)))
    elif options.json:
        print_json(view.records(answer))
    else:
        console = terminal()
        console.print(view.draw(answer, console.width))
    return Exit.OK


def _view(options: Namespace) -> View:
    match options.command:
        case "services":
            return View(_status, lambda engine: engine.services, lambda engine, width: services(engine.services, width))
        case "servers":
            return View(_status, _servers, lambda engine, width: servers(_servers(engine), width, engine.now_at))
        case "sessions":
            query = _query(options)
            return View(lambda client: client.sessions(query), lambda page: page, sessions)
        case _:
            return View(_status, lambda engine: engine, status)


async def _status(client: ControlClient) -> EngineStatus:
    return await client.status()


def _servers(engine: EngineStatus) -> list[ServerStatus]:
    return [server for service in engine.services for server in service.servers]


_NAMES: dict[str, Callable[[EngineStatus], list[str]]] = {
    "services": lambda engine: [service.name for service in engine.services],
    "servers": lambda engine: [f"{server.service}/{server.name}" for server in _servers(engine)],
}
"""Names as other commands take them."""


def _query(options: Namespace) -> SessionQuery:
    return SessionQuery(
        service=options.service,
        server=options.server,
        client=options.client,
        spi=options.spi and options.spi.lower().removeprefix("0x"),
        phase=options.phase,
        vendor=options.vendor,
        error=options.error,
        filter=" ".join(options.filter),
        sort=options.sort.removeprefix("-"),
        descending=options.sort.startswith("-"),
        offset=options.offset,
        limit=options.limit,
    )


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _LEAST_INTERVAL_S <= seconds < 86400:
        raise ArgumentTypeError(f"{text!r}: seconds from {_LEAST_INTERVAL_S} on")
    return seconds
