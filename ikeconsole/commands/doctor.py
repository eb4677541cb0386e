"""doctor: what this machine and the real servers can do, with an engine running or not."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

import trio
from netaddr import IPAddress

from engine.control.api import Refused
from ikeconsole.client import EngineUnreachable, connect
from ikeconsole.commands.output import add_json, print_json, terminal
from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import config_path, control_socket

if TYPE_CHECKING:
    from engine.doctor.diagnosis import Diagnosis
    from engine.doctor.running import Engine

WIDTH = 80

_ENDING = (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """As which client real servers are asked, and how to show it."""
    parser.add_argument(
        "--client",
        metavar="ADDR",
        dest="clients",
        action="append",
        default=[],
        type=_address,
        help="ask real servers of transparent services as this client; default: nobody's address, 198.51.100.1 or "
        "2001:db8::1",
    )
    parser.add_argument("--problems", action="store_true", help="leave out what is well")
    add_json(parser)


def execute(options: Namespace) -> int:
    """Print what was found; `Exit.FAILED` when something fails, `Exit.BAD_CONFIG` for a bad configuration."""
    from engine.config.load import load
    from engine.config.problems import ConfigError
    from engine.doctor.diagnosis import FAIL, OK
    from engine.doctor.examination import examine
    from engine.doctor.network import CLIENT

    engine = trio.run(_ask_engine, control_socket(options))
    path = config_path(options) if options.config else engine.config_path or config_path(options)
    try:
        config = load(path).config
    except ConfigError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return Exit.BAD_CONFIG
    client = CLIENT | {address.version: str(address) for address in options.clients}
    diagnoses = trio.run(_interruptible, partial(examine, config, path, engine, client))
    shown = [one for one in diagnoses if one.state != OK] if options.problems else diagnoses
    if options.json:
        print_json(shown)
    else:
        from ikeconsole.render.doctor import report, tally

        console = terminal()
        if shown:
            console.print(report(shown, min(WIDTH, console.width)), soft_wrap=True)
        console.print(tally(diagnoses), soft_wrap=True)
    return Exit.FAILED if any(diagnosis.state == FAIL for diagnosis in diagnoses) else Exit.OK


async def _interruptible(examination: Callable[[], Awaitable[list[Diagnosis]]]) -> list[Diagnosis]:
    """What an examination finds; one that is told to end takes its own rules out of the kernel first."""
    found: list[Diagnosis] = []
    ended: list[Signals] = []
    with trio.open_signal_receiver(*_ENDING) as received:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                ended.append(Signals(await anext(received)))
                nursery.cancel_scope.cancel()

            nursery.start_soon(obey)
            found = await examination()
            nursery.cancel_scope.cancel()
    match ended:
        case [Signals.SIGINT]:
            raise KeyboardInterrupt
        case [number]:
            raise Failure(Exit.FAILED, f"ended by {number.name}")
    return found


async def _ask_engine(path: Path) -> Engine:
    from engine.doctor.running import Engine

    try:
        async with connect(path) as client:
            return Engine(status=await client.status())
    except EngineUnreachable:
        return Engine()
    except Refused as error:
        return Engine(denied="; ".join([error.message, *error.details]))


def _address(text: str) -> IPAddress:
    from engine.config.addresses import parse_address

    try:
        return parse_address(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
