"""advise: what to set on servers, gateways and clients, from what the engine sees of them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import msgspec

from engine.control import calls
from engine.control.records import Advice
from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import add_json, print_json, terminal
from ikeconsole.exits import Exit

WIDTH = 80
"""What is read as sentences, and pasted into tickets, needs no more."""

_LANGUAGES = {
    "powershell": {"powershell", "toml"},
    "swanctl": {"swanctl", "shell", "toml"},
    "all": {"powershell", "swanctl", "shell", "toml"},
}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """What to advise on, and for which kind of server."""
    parser.add_argument(
        "target", metavar="SERVICE[/SERVER]", nargs="?", default="", help="of this service or real server; default: all"
    )
    parser.add_argument(
        "--snippets",
        choices=_LANGUAGES,
        default="all",
        help="commands for Windows servers (powershell), for strongSwan on Linux (swanctl), or both (all, the default)",
    )
    add_json(parser)


def execute(options: Namespace) -> int:
    """Print the advice, the most urgent first."""
    service, _, server = options.target.partition("/")
    found = ask(options, lambda client: client.ask(calls.GetAdvice(service=service, server=server)))
    advices = [_only(advice, _LANGUAGES[options.snippets]) for advice in found]
    if options.json:
        print_json(advices)
        return Exit.OK
    from ikeconsole.render.advice import advice_block, tally

    console = terminal()
    width = min(WIDTH, console.width)
    for advice in advices:
        console.print(advice_block(advice, width), "", sep="\n", soft_wrap=True)
    console.print(tally(advices))
    return Exit.OK


def _only(advice: Advice, languages: set[str]) -> Advice:
    """The advice with snippets in these languages."""
    kept = [snippet for snippet in advice.snippets if snippet.language in languages]
    return msgspec.structs.replace(advice, snippets=kept)
