"""What a command prints: records as JSON for programs, or tables for people."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser

import msgspec
from rich.console import Console

from engine.control.records import Change

_PIPE_COLUMNS = 200
_UNESCAPED_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Of one byte, and those that turn the direction of writing round."""


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def add_json(parser: ArgumentParser) -> None:
    """The option --json."""
    parser.add_argument("--json", action="store_true", help="print the engine's records as JSON")


def terminal() -> Console:
    """Standard output: the terminal's width, or wide enough to lose nothing where another program reads."""
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    return _Terminal(width=width, highlight=False, markup=False, emoji=False)


def print_json(record: object, *, one_line: bool = False) -> None:
    """Print a record as one JSON document."""
    document = msgspec.json.encode(record)
    text = (document if one_line else msgspec.json.format(document, indent=2)).decode()
    # JSON leaves these as they are, and a terminal may obey them.
    print(_UNESCAPED_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def print_change(change: Change, *, as_json: bool) -> None:
    """Print what a changing call did."""
    if as_json:
        print_json(change)
    else:
        print(change.done)
