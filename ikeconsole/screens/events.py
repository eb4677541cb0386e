"""The events: everything that happened, as far as the engine remembers it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Input, Static

from engine.control import calls
from engine.control.records import Event
from engine.wording import count
from ikeconsole.actions import bindings
from ikeconsole.event_history import SEVERITIES, EventHistory
from ikeconsole.navigation import open_concerned
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import grouped
from ikeconsole.render.states import severity
from ikeconsole.screens.place import Place
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn
from ikeconsole.widgets.line_filter import LineFilter

_NOTHING_YET = " Nothing happened yet: what the engine, its servers and its clients do appears here."
_NO_MATCH = " No event matches: press / to change the words, s for less grave ones."


class Events(Place):
    """A log with the newest event last; following, it stays there."""

    PLACE = "events"
    BINDINGS = bindings("events")

    def __init__(self) -> None:
        super().__init__()
        self._history = EventHistory()
        self._shown: list[Event] = []
        self._words = ""
        self._least = SEVERITIES[0]
        self._following = True

    def body(self) -> Iterable[Widget]:
        """What is shown of how many, the filter, the events."""
        yield Static(id="events-summary", classes="summary", markup=False)
        yield LineFilter("words that an event must have, in any order")
        yield Grid[Event](
            [
                GridColumn("TIME", 8, lambda event: time.strftime("%H:%M:%S", time.localtime(event.at))),
                GridColumn(
                    "DAY", 10, lambda event: time.strftime("%Y-%m-%d", time.localtime(event.at)), from_width=110
                ),
                GridColumn("", 1, lambda event: severity(event.severity, self.console_app.state_styles)),
                GridColumn("SEVERITY", 8, lambda event: event.severity, from_width=140),
                GridColumn("KIND", 20, lambda event: event.kind, from_width=120),
                GridColumn("WHAT HAPPENED", 40, lambda event: printable(event.text), grow=1),
            ],
            key=lambda event: event.number,
            empty=_NOTHING_YET,
            id="events",
        )

    async def look(self) -> None:
        """Fetch what is new, and bit by bit what is old."""
        snapshot = self.console_app.snapshot
        if snapshot is not None and self._history.begin(snapshot.run):
            self._shown = []
        link = self.console_app.link
        new = await link.ask(calls.ListEvents(after=self._history.newest, limit=calls.MAX_ROWS))
        old: list[Event] = []
        if self._history.oldest > 1 and not self._history.complete:
            old = await link.ask(calls.ListEvents(before=self._history.oldest, limit=calls.MAX_ROWS))
            self._history.add_older(old)
        self._history.add_newer(new)
        if new or old or not self._shown:
            self._draw()

    def action_filter(self) -> None:
        """Type words that an event must have."""
        self.query_one(LineFilter).open()

    def action_follow(self) -> None:
        """Stay at the newest event, or stop doing so."""
        self._following = not self._following
        self._draw()

    def action_severity(self) -> None:
        """Hide the less important events, step by step."""
        self._least = SEVERITIES[(SEVERITIES.index(self._least) + 1) % len(SEVERITIES)]
        self._draw()

    async def action_place(self) -> None:
        """Open the session or server concerned."""
        event = self._grid.selected
        if event is not None:
            await open_concerned(self.console_app, service=event.service, server=event.server, client=event.client)

    def offers(self, action: str) -> bool:
        """There must be somewhere to go."""
        event = self._grid.selected if self.is_mounted else None
        return action != "place" or (event is not None and bool(event.client or event.server or event.service))

    async def on_grid_opened(self) -> None:
        """Enter goes there."""
        await self.action_place()

    def on_grid_cursor_moved(self) -> None:
        """Whoever goes up wants to read, not to follow."""
        following = self._grid.cursor >= self._grid.total - 1
        if self._following and not following:
            self._following = False
            self._summarize()
        self.refresh_bindings()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every keystroke counts."""
        self._words = event.value
        self._draw()

    @property
    def _grid(self) -> Grid[Event]:
        return self.query_one("#events", Grid)

    def _draw(self) -> None:
        self._shown = self._history.matching(self._words, self._least)
        self._grid.empty = _NO_MATCH if len(self._history) else _NOTHING_YET
        self._grid.show(self._shown)
        if self._following:
            self._grid.select(len(self._shown) - 1)
        self._summarize()
        self.refresh_bindings()

    def _summarize(self) -> None:
        parts = [f" {grouped(len(self._shown))} of {count(len(self._history), 'event')}"]
        if self._least != SEVERITIES[0]:
            parts.append(f"{self._least} and graver")
        if self._words:
            parts.append(f"with “{self._words}”")
        parts.append("following" if self._following else "not following (f)")
        self.query_one("#events-summary", Static).update("   ".join(parts))
