"""--watch: a view drawn again and again; when the engine is lost it says so and waits for it to come back."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ikeconsole.commands.asking import ask
from ikeconsole.commands.output import print_json, terminal
from ikeconsole.exits import Exit, Failure
from ikeconsole.render.columns import printable, stacked
from ikeconsole.render.numbers import age
from ikeconsole.render.states import ALARM

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
    with _canvas(console) as draw:
        while True:
            page = view.draw(answer, console.width)
            draw(page if lost is None else stacked(_banner(lost, time.monotonic() - answered_at), page))
            time.sleep(options.watch)
            try:
                answer, answered_at, lost = ask(options, view.fetch), time.monotonic(), None
            except Failure as failure:
                if failure.code != Exit.UNREACHABLE:
                    raise
                lost = failure


@contextmanager
def _canvas(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    """What draws a page: over the last one on a terminal, below it in a pipe."""
    if not console.is_terminal:
        yield lambda page: console.print(page, Text(""))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda page: live.update(page, refresh=True)


def _banner(lost: Failure, silence_s: float) -> Text:
    return Text(f"{ALARM} {printable(lost.message)}\n  what follows is {age(silence_s)} old", "bold red")
