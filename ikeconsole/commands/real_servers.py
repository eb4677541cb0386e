"""enable, drain, disable, weight: what the operator wants of one real server."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from engine.control.calls import PreviewServer
from ikeconsole.commands.asking import ask
from ikeconsole.commands.confirming import add_yes, confirm
from ikeconsole.commands.output import add_json, print_change
from ikeconsole.exits import Exit

_STATES = {"enable": "enabled", "drain": "drain", "disable": "disabled"}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """The real server's name, and its weight."""
    parser.add_argument("target", metavar="SERVICE/SERVER", type=target)
    if command == "weight":
        parser.add_argument("weight", metavar="N", type=_weight, help="0: no new sessions")
    if command in ("drain", "disable"):
        add_yes(parser)
    add_json(parser)


def execute(options: Namespace) -> int:
    """Change the real server and say what that did."""
    service, server = options.target
    state = _STATES.get(options.command)
    weight = options.weight if options.command == "weight" else None
    if options.command in ("drain", "disable"):
        preview = PreviewServer(service=service, server=server, state=state)
        confirm(options, f"{options.command.capitalize()} {server}?", lambda client: client.ask(preview))
    change = ask(options, lambda client: client.set_server(service, server, state=state, weight=weight))
    print_change(change, as_json=options.json)
    return Exit.OK


def target(text: str) -> tuple[str, str]:
    """The names in SERVICE/SERVER; raises ArgumentTypeError."""
    service, slash, server = text.partition("/")
    if not (service and slash and server):
        raise ArgumentTypeError(f"{text!r}: write SERVICE/SERVER, such as always-on-vpn/rras-1")
    return service, server


def _weight(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r}: a weight is a whole number from 0 on")
    return int(text)
