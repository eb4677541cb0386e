"""A unified difference of two texts, in colours."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import Static

from ikeconsole.render.columns import printable

MAX_LINES = 2000


class DiffView(ScrollableContainer):
    """Lines that came, went and stayed; it scrolls both ways."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "down", show=False),
        Binding("k", "scroll_up", "up", show=False),
    ]

    def __init__(self, difference: str = "", *, empty: str = "No difference.", id: str | None = None) -> None:
        super().__init__(id=id)
        self._difference = difference
        self._empty = empty

    def compose(self) -> ComposeResult:
        """All lines in one text."""
        yield Static(self._drawn())

    def show(self, difference: str) -> None:
        """Show another difference, from its start."""
        if difference != self._difference:
            self._difference = difference
            self.query_one(Static).update(self._drawn())
            self.scroll_home(animate=False)

    def _drawn(self) -> Content:
        lines = self._difference.splitlines()
        if not lines:
            return Content.styled(self._empty, "dim")
        drawn = [_line(line, header=number < 2) for number, line in enumerate(lines[:MAX_LINES])]
        if len(lines) > MAX_LINES:
            drawn.append(Content.styled(f"… and {len(lines) - MAX_LINES} more lines", "dim"))
        return Content("\n").join(drawn)


def count_lines(difference: str) -> tuple[int, int]:
    """How many lines a unified difference adds and removes."""
    body = difference.splitlines()[2:]
    return sum(line.startswith("+") for line in body), sum(line.startswith("-") for line in body)


def _line(line: str, *, header: bool) -> Content:
    text = printable(line.expandtabs())
    if header and line.startswith(("---", "+++")):
        return Content.styled(text, "dim")
    match line[:1]:
        case "+":
            return Content.styled(text, "$text-success")
        case "-":
            return Content.styled(text, "$text-error")
        case "@":
            return Content.styled(text, "$text-accent")
        case _:
            return Content(text)
