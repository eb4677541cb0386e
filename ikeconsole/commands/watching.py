"""--watch: a view drawn again and again; when the engine is lost it says so and waits for it to come back."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import print_json, terminal
from ikeconsole.exits import Exit, Failure
from ikeconsole.render.columns import printable, stacked
from ikeconsole.render.numbers import age

if TYPE_CHECKING:
    from ikeconsole.commands.show import View


def watch(options: Namespace, view: View) -> None:
    """Refresh until interrupted; raises `Failure` when there is no engine at the start."""
    try:
        if options.json:
            _print_documents(options, view)
        else:
            _redraw(options, view, terminal())
    except KeyboardInterrupt:
        return


def _print_documents(options: Namespace, view: View) -> None:
    while True:
        print_json(view.records(ask(options, view.fetch)), one_line=True)
        time.sleep(options.watch)


def _redraw(options: Namespace, view: View, console: Console) -> None:
    answer, answered_at = ask(options, view.fetch), time.monotonic()
    lost: Failure | None = None
    with Live(console=console, screen=sys.stdout.isatty(), auto_refresh=False) as live:
        while True:
            page = view.draw(answer, console.width)
            if lost is not None:
                silence = age(time.monotonic() - answered_at)
                banner = Text(f"▲ {printable(lost.message)}\n  what follows is {silence} old", "bold red")
                page = stacked(banner, page)
            live.update(page, refresh=True)
            time.sleep(options.watch)
            try:
                answer, answered_at, lost = ask(options, view.fetch), time.monotonic(), None
            except Failure as failure:
                if failure.code != Exit.UNREACHABLE:
                    raise
                lost = failure
