"""The real servers of a service that is edited, as one of the fields of its form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ikeconsole.widgets.field_row import CHANGED_MARK
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn


@dataclass(frozen=True, slots=True)
class Entry:
    """One real server as it is edited."""

    number: int
    table: dict[str, Any]
    changed: bool
    wrong: bool


class EntryGrid(Grid[Entry]):
    """As high as its rows; beyond its ends the arrows go on to the next field."""

    def __init__(self) -> None:
        super().__init__(
            [
                GridColumn("", 1, lambda row: CHANGED_MARK if row.changed else " "),
                GridColumn("REAL SERVER", 16, lambda row: _told(row, "name"), grow=1),
                GridColumn("ADDRESS", 16, lambda row: _told(row, "address"), grow=1),
                GridColumn("WEIGHT", 6, lambda row: str(row.table.get("weight", 100)), right=True),
                GridColumn("STATE", 9, lambda row: str(row.table.get("state", "enabled"))),
                GridColumn("MAX", 6, lambda row: str(row.table.get("max_sessions", 0) or "-"), right=True),
                GridColumn("", 14, lambda row: "▲ to put right" if row.wrong else ""),
            ],
            key=lambda row: row.number,
            empty=" No real server yet: press n to add one.",
            id="entries",
        )
        self._height = 0

    def show(self, rows: Sequence[Entry], *, offset: int = 0, total: int | None = None) -> None:
        """Show these real servers."""
        super().show(rows, offset=offset, total=total)
        height = max(2, len(rows)) + 1
        if height != self._height:
            self._height = height
            self.styles.height = height

    def action_cursor_up(self) -> None:
        """One row up, or to the field before."""
        if self.cursor == 0:
            self.screen.focus_previous("#fields *")
        else:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        """One row down, or to the field behind."""
        if self.cursor >= self.total - 1:
            self.screen.focus_next("#fields *")
        else:
            super().action_cursor_down()


def _told(row: Entry, key: str) -> str:
    return str(row.table.get(key, "-"))
