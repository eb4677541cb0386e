"""explain, clear, move: what the engine remembers of one client."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_change, print_json, terminal
from ikeconsole.exits import Exit


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """The client's address, and where to move it."""
    prefix = ", or a prefix such as 198.51.100.0/24" if command == "clear" else ""
    parser.add_argument("client", metavar="ADDR", help=f"the client's address{prefix}")
    if command == "move":
        parser.add_argument("server", metavar="SERVER", help="a real server of the same service")
    add_json(parser)


def execute(options: Namespace) -> int:
    """Explain, forget or move the client."""
    address: str = options.client
    match options.command:
        case "explain":
            explanations = ask(options, lambda client: client.explain(address))
            if options.json:
                print_json(explanations)
            else:
                from ikeconsole.render.explanation import explained

                terminal().print(*(explained(explanation) for explanation in explanations), sep="\n\n", soft_wrap=True)
        case "clear":
            print_change(ask(options, lambda client: client.clear(address)), as_json=options.json)
        case "move":
            change = ask(options, lambda client: client.move(address, options.server))
            print_change(change, as_json=options.json)
    return Exit.OK
