"""pin, unpin, pins: clients that the operator binds to a real server."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from engine.control import calls
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_change, print_json, terminal
from ikeconsole.exits import Exit


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """The client's address, and the real server it is bound to."""
    if command != "pins":
        parser.add_argument("client", metavar="ADDR", help="the client's address")
    if command == "pin":
        parser.add_argument("server", metavar="SERVER", help="a real server, or SERVICE/SERVER")
    add_json(parser)


def execute(options: Namespace) -> int:
    """Bind the client, let it go, or list who is bound."""
    match options.command:
        case "pin":
            pin = calls.Pin(client=options.client, server=options.server)
            print_change(ask(options, lambda client: client.ask(pin)), as_json=options.json)
        case "unpin":
            unpin = calls.Unpin(client=options.client)
            print_change(ask(options, lambda client: client.ask(unpin)), as_json=options.json)
        case "pins":
            _list(options)
    return Exit.OK


def _list(options: Namespace) -> None:
    rows = ask(options, lambda client: client.ask(calls.ListPins()))
    if options.json:
        print_json(rows)
        return
    from ikeconsole.render.pins import pins

    console = terminal()
    console.print(pins(rows, console.width))
