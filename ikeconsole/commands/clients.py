"""explain, clear, move: what the engine remembers of one client."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from engine.control import calls
from ikeconsole.commands.asking import ask
from ikeconsole.commands.confirming import add_yes, confirm
from ikeconsole.commands.output import add_json, print_change, print_json, terminal
from ikeconsole.exits import Exit


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """The client's address, and where to move it."""
    if command == "clear":
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "client", metavar="ADDR", nargs="?", default="", help="an address, or a prefix: 198.51.100.0/24"
        )
        what.add_argument("--session", metavar="N", type=int, help="this one session alone, by its ID")
    else:
        parser.add_argument("client", metavar="ADDR", help="the client's address")
    if command == "move":
        parser.add_argument("server", metavar="SERVER", help="a real server of the same service, or SERVICE/SERVER")
    if command != "explain":
        add_yes(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    """Explain, forget or move the client."""
    match options.command:
        case "explain":
            _explain(options)
        case "clear":
            _clear(options)
        case "move":
            _move(options)
    return Exit.OK


def _explain(options: Namespace) -> None:
    explanations = ask(options, lambda client: client.explain(options.client))
    if options.json:
        print_json(explanations)
        return
    from ikeconsole.render.explanation import explained, unserved

    if not explanations:
        print(unserved(options.client))
        return
    terminal().print(*(explained(explanation) for explanation in explanations), sep="\n\n", soft_wrap=True)


def _clear(options: Namespace) -> None:
    address, session = options.client, options.session
    what = address if session is None else f"session {session}"
    confirm(options, f"Clear {what}?", lambda client: client.ask(calls.PreviewClear(client=address, session=session)))
    change = ask(options, lambda client: client.clear(address, session=session))
    print_change(change, as_json=options.json)


def _move(options: Namespace) -> None:
    address, server = options.client, options.server
    preview = calls.PreviewMove(client=address, server=server)
    confirm(options, f"Move {address} to {server}?", lambda client: client.ask(preview))
    change = ask(options, lambda client: client.move(address, server))
    print_change(change, as_json=options.json)
