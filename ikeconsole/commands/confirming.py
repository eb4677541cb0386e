"""A question before a change: what it would do, and whether to do it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable

from engine.control.records import Effect
from ikeconsole.client import ControlClient
from ikeconsole.commands.asking import ask
from ikeconsole.exits import Exit, Failure
from ikeconsole.render.columns import printable


def add_yes(parser: ArgumentParser) -> None:
    """The option --yes."""
    parser.add_argument("-y", "--yes", action="store_true", help="do it without asking")


def confirm(options: Namespace, question: str, preview: Callable[[ControlClient], Awaitable[Effect]]) -> None:
    """Ask whoever sits at the terminal, who sees first what would happen; raises `Failure` for a no.

    Nothing is asked with --yes, or when a program gives the command.
    """
    if options.yes or not sys.stdin.isatty():
        return
    effect = ask(options, preview)
    # Standard output is for the answer alone.
    print(*map(printable, effect.lines), f"{question} [y/N] ", sep="\n", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure(Exit.FAILED, "not confirmed: nothing was changed")
