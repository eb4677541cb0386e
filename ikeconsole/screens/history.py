"""What the configuration was: its revisions, how the file differs from what runs, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual import work
from textual.containers import Container
from textual.widget import Widget

from engine.control.calls import GetConfig, ListHistory
from engine.control.records import ConfigState, Revision
from ikeconsole.actions import bindings
from ikeconsole.render.numbers import clock
from ikeconsole.screens.place import Place
from ikeconsole.settings.applying import undo
from ikeconsole.widgets.diff_view import DiffView, count_lines
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn

REVISIONS = 100
NO_HISTORY = " No revision yet: the first change through ikeconsole makes one."


@dataclass(frozen=True, slots=True)
class Row:
    """A revision, or the file where it differs from what runs."""

    number: int
    """0: the file."""
    saved: str
    author: str
    summary: str
    difference: str
    lines: str


class History(Place):
    """Revisions, newest first, with what each changed."""

    PLACE = "history"
    BINDINGS = bindings("history")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 Textual declares it so

    def __init__(self) -> None:
        super().__init__()
        self._revisions: list[Row] = []
        self._base = ""
        """The configuration in force when the revisions were asked for."""

    @property
    def grid(self) -> Grid[Row]:
        """The revisions."""
        return self.query_one("#revisions", Grid)

    def body(self) -> Iterable[Widget]:
        """The revisions, and what the one under the cursor changed."""
        with Container(id="history"):
            yield Grid[Row](
                [
                    GridColumn("REV", 4, lambda row: str(row.number) if row.number else "file", right=True),
                    GridColumn("SAVED", 19, lambda row: row.saved),
                    GridColumn("BY", 8, lambda row: row.author),
                    GridColumn("LINES", 9, lambda row: row.lines),
                    GridColumn("CHANGE", 20, lambda row: row.summary, grow=1),
                ],
                key=lambda row: row.number,
                empty=NO_HISTORY,
                id="revisions",
            )
            yield DiffView(id="revision", empty="")

    async def look(self) -> None:
        """Ask for the file, and for the revisions when another configuration is in force."""
        link, snapshot = self.console_app.link, self.console_app.snapshot
        state = await link.ask(GetConfig())
        if snapshot is not None and snapshot.status.config_digest != self._base:
            self._revisions = [_row(revision) for revision in await link.ask(ListHistory(limit=REVISIONS))]
            self._base = snapshot.status.config_digest
        self.grid.show(([_file(state)] if state.on_disk_differs else []) + self._revisions)
        self._show_difference()

    def on_grid_cursor_moved(self) -> None:
        """Show what that revision changed."""
        self._show_difference()

    def on_grid_opened(self) -> None:
        """Go into the difference, to scroll it."""
        self.query_one(DiffView).focus()

    @work(exclusive=True)
    async def action_undo(self) -> None:
        """Return to the configuration before the last change."""
        await undo(self.console_app)

    def _show_difference(self) -> None:
        row = self.grid.selected
        self.query_one(DiffView).show(row.difference if row else "")


def _row(revision: Revision) -> Row:
    return Row(
        number=revision.number,
        saved=clock(revision.at),
        author=revision.author,
        summary=revision.summary,
        difference=revision.difference,
        lines=_counted(revision.difference),
    )


def _file(state: ConfigState) -> Row:
    return Row(
        number=0,
        saved="not in force",
        author="-",
        summary="differs from what runs: r reloads it",
        difference=state.difference,
        lines=_counted(state.difference),
    )


def _counted(difference: str) -> str:
    added, removed = count_lines(difference)
    return f"+{added} -{removed}"
