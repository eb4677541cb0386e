"""probe: ask a real server now whether it is well."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from engine.control import calls
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_json
from ikeconsole.commands.real_servers import target
from ikeconsole.exits import Exit
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import round_trip


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """The real server's name."""
    parser.add_argument("target", metavar="SERVICE/SERVER", type=target)
    add_json(parser)


def execute(options: Namespace) -> int:
    """Print what the probe found; `Exit.FAILED` when that is a failure."""
    service, server = options.target
    row = ask(options, lambda client: client.ask(calls.ProbeNow(service=service, server=server)))
    if options.json:
        print_json(row)
    else:
        took = "" if row.rtt_s is None else f" in {round_trip(row.rtt_s)}"
        print(printable(f"{service}/{server}: {'ok' if row.ok else 'failed'}{took}: {row.reason}"))
    return Exit.OK if row.ok else Exit.FAILED
