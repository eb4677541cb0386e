"""The keys of the place one is at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.table import Table
from textual.binding import Binding, BindingType
from textual.keys import format_key
from textual.widget import Widget
from textual.widgets import Button, Static

from ikeconsole.actions import ACTIONS, Action
from ikeconsole.dialogs.dialog import Dialog


class Help(Dialog[None]):
    """Every action of the place, of its table, and of the whole console, with its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "refuse", "close", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("up,k", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, place: str, *, has_grid: bool, read_only: bool) -> None:
        super().__init__(f"Keys: {place}")
        self._groups = [place, *(["grid"] if has_grid else []), "console"]
        self._read_only = read_only

    def content(self) -> Iterable[Widget]:
        """One table for each group."""
        for group in self._groups:
            shown = [action for action in ACTIONS[group] if not (action.changes and self._read_only)]
            if shown:
                yield Static(_TITLES.get(group, group), markup=False, classes="help-group")
                yield Static(_keys(shown))
        if self._read_only:
            yield Static("Keys that change something are left out: this console may only look.", classes="help-group")

    def buttons(self) -> Iterable[Button]:
        """Close."""
        yield Button("Close", id="close", compact=True)

    def on_button_pressed(self) -> None:
        """Close it."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by some lines."""
        self.query_one(".dialog-body").scroll_relative(y=lines, animate=False)


_TITLES = {"grid": "in the table", "console": "everywhere"}


def _keys(actions: Sequence[Action]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=14, no_wrap=True, style="bold")
    table.add_column()
    for action in actions:
        table.add_row(" ".join(format_key(key) for key in action.keys.split(",")), action.help)
    return table
