"""Writes the completions of bash, zsh and fish from the command line's parser; names come from the running engine.

python packaging/completion/make_scripts.py [DIRECTORY]      default: beside this file
"""

from __future__ import annotations

import sys
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shtab

from ikeconsole.main import whole_parser

SHELLS = ("bash", "zsh", "fish")


def _names(function: str, command: str) -> dict[str, Any]:
    """What completes with the words that a command prints, which are none while no engine answers."""
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({command})",
        "preamble": {
            "bash": f'{function}() {{ compgen -W "$({command})" -- "$1"; }}',
            "zsh": f'{function}() {{ local -a names; names=(${{(f)"$({command})"}}); compadd -a names; }}',
        },
    }


SERVERS = _names("_ikeconsole_servers", "ikeconsole servers --names 2>/dev/null")
SERVERS_ALONE = _names("_ikeconsole_servers_alone", "ikeconsole servers --names 2>/dev/null | sed 's,.*/,,'")
SERVICES = _names("_ikeconsole_services", "ikeconsole services --names 2>/dev/null")


def _completed_with(action: Action) -> dict[str, Any] | None:
    match action.metavar, action.dest:
        case (("SERVICE/SERVER" | "SERVICE[/SERVER]" | "SERVER"), _):
            return SERVERS
        case "NAME", "server":
            return SERVERS_ALONE
        case "NAME", "service":
            return SERVICES
        case (("FILE" | "FILE.pcap" | "PATH"), _):
            return shtab.FILE
        case _:
            return None


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def main(directory: Path) -> None:
    """Write a script for each shell."""
    parser = whole_parser()
    for action in _actions(parser):
        if found := _completed_with(action):
            action.complete = found  # type: ignore[attr-defined]
    for shell in SHELLS:
        (directory / f"ikeconsole.{shell}").write_text(shtab.complete(parser, shell))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
