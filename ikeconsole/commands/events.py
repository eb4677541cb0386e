"""events: what happened, and what happens."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import aclosing

from rich.console import Console

from engine.control.records import Event
from ikeconsole.client import ControlClient
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_json, terminal
from ikeconsole.exits import Exit
from ikeconsole.render.events import event_line

SEVERITIES = ("info", "notice", "warning", "error")


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """How many, and whether to go on."""
    parser.add_argument("-f", "--follow", "--watch", action="store_true", help="go on with new ones as they happen")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="look at N past events (100)")
    parser.add_argument("--severity", choices=SEVERITIES, help="only those, and graver ones")
    parser.add_argument("--kind", metavar="KIND", help="only of this kind, such as server-down or session-failed")
    parser.add_argument("--server", metavar="NAME", help="only of this real server")
    parser.add_argument("--client", metavar="ADDR", help="only of this client address")
    add_json(parser)


def execute(options: Namespace) -> int:
    """Print past events, and with --follow new ones until interrupted."""
    console = terminal()

    def show(event: Event) -> None:
        if not _is_wanted(event, options):
            return
        if options.json:
            print_json(event, one_line=True)
        else:
            _print_line(console, event)

    async def past(client: ControlClient) -> None:
        for event in await client.events(limit=options.limit):
            show(event)

    async def following(client: ControlClient) -> None:
        async with aclosing(client.follow(limit=options.limit)) as events:
            async for event in events:
                show(event)

    try:
        ask(options, following if options.follow else past)
    except KeyboardInterrupt:
        if not options.follow:
            raise
    return Exit.OK


def _is_wanted(event: Event, options: Namespace) -> bool:
    return (
        options.kind in (None, event.kind)
        and options.server in (None, event.server)
        and (options.client is None or options.client in (event.client, event.client.rpartition(":")[0]))
        and (options.severity is None or SEVERITIES.index(event.severity) >= SEVERITIES.index(options.severity))
    )


def _print_line(console: Console, event: Event) -> None:
    # A long line is the terminal's to wrap, so that it stays one line for copy and grep.
    console.print(event_line(event), soft_wrap=True)
