"""Every tunnel: which client is on which real server, and why."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from textual import work
from textual.content import Content
from textual.widget import Widget

from engine.control import calls
from engine.control.api import Refused
from engine.control.records import SessionPage, SessionQuery, SessionRow
from engine.wording import count
from ikeconsole.actions import bindings
from ikeconsole.changes import sessions as changes
from ikeconsole.client import EngineUnreachable
from ikeconsole.exporting import export_sessions
from ikeconsole.navigation import open_capture
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import grouped
from ikeconsole.screens.place import Place
from ikeconsole.screens.session import Session
from ikeconsole.screens.session_columns import LARGEST_FIRST, SORT_NAMES, session_columns
from ikeconsole.session_rates import SessionRates
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.session_filter import SessionFilter

MARGIN = 100
"""Rows held on either side of those in sight."""
ORDER_AGE_S = 5.0
"""How old the order of the rows may be while scrolling, and always where sorting costs the engine much."""
LARGE = 5_000
"""How many sessions that is."""


class Sessions(Place):
    """The session list: it holds the rows in sight and some around them, whatever their number."""

    PLACE = "sessions"
    BINDINGS = bindings("sessions")

    def __init__(self, filter: str = "") -> None:
        super().__init__()
        self._rates = SessionRates()
        self._head = HeadLine()
        self._filter = SessionFilter()
        columns = session_columns(lambda: self.console_app.state_styles, self._rates)
        self.grid = Grid[SessionRow](columns, key=lambda row: row.id, empty="asking the engine…", id="sessions")
        self._question = SessionQuery(filter=filter)
        self._page: SessionPage | None = None
        self._problem = ""
        self._begin = True
        """Whether the next answer is shown from its first row on."""
        self._wish_age_s: float | None = None
        """How old the order of the rows still to be asked for may be; None: nothing is to be asked."""
        self._asking = False

    def body(self) -> Iterable[Widget]:
        """The head line, the filter, the rows."""
        yield self._head
        yield self._filter
        yield self.grid

    def show(self, snapshot: Snapshot) -> None:
        """Know the names that a filter can have, and say where a first client would go."""
        services = snapshot.status.services
        self._filter.names = {
            "service": [service.name for service in services],
            "server": list(dict.fromkeys(server.name for service in services for server in service.servers)),
        }
        self._show_head()

    async def look(self) -> None:
        """Ask for the rows anew."""
        large = self._page is not None and self._page.matched > LARGE
        self._wish(ORDER_AGE_S if large else 0.0)
        await self._ask()

    def show_filter(self, line: str) -> None:
        """Show the sessions that a filter line describes, from the first on."""
        self._ask_otherwise(filter=line)

    def offers(self, action: str) -> bool:
        """What concerns one session needs one."""
        if self._filter.display:
            return False
        match action:
            case "clear" | "move" | "pin" | "copy" | "capture":
                return self._page is not None and self.grid.selected is not None
            case _:
                return True

    def on_grid_wanted(self) -> None:
        """Ask for rows that came in sight."""
        self._ask_soon()

    def on_grid_cursor_moved(self) -> None:
        """Ask for the rows to come before they are in sight."""
        self.refresh_bindings()
        page, (top, lines) = self._page, self.grid.window
        if page is not None:
            near_begin = page.offset > 0 and top - MARGIN // 2 < page.offset
            last = page.offset + len(page.rows)
            if near_begin or (last < page.matched and top + lines + MARGIN // 2 > last):
                self._ask_soon()

    def on_grid_sort_asked(self, event: Grid.SortAsked) -> None:
        """Sort by the column whose title was clicked, or turn the order round."""
        if event.sort == self._question.sort:
            self.action_reverse()
        else:
            self._sort_by(event.sort)

    async def on_grid_opened(self) -> None:
        """Open the page of the session."""
        if (row := self.grid.selected) is not None:
            await self.app.push_screen(Session(row.id, row))

    def on_session_filter_changed(self, event: SessionFilter.Changed) -> None:
        """Show what the line describes."""
        self.show_filter(event.line)

    def on_session_filter_closed(self) -> None:
        """Go back to the rows."""
        self.grid.focus()
        self.refresh_bindings()

    def action_filter(self) -> None:
        """Let the operator say which sessions to show."""
        self._filter.open(self._question.filter)
        self.refresh_bindings()

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = list(SORT_NAMES)
        self._sort_by(names[(names.index(self._question.sort) + 1) % len(names)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._ask_otherwise(descending=not self._question.descending)

    @work(exclusive=True)
    async def action_clear(self) -> None:
        """Forget the selected client, or the one session."""
        if (row := self.grid.selected) is not None:
            await changes.clear(self.console_app, row)

    @work(exclusive=True)
    async def action_move(self) -> None:
        """Send the selected client to another real server."""
        if (row := self.grid.selected) is not None:
            await changes.move(self.console_app, row)

    @work(exclusive=True)
    async def action_pin(self) -> None:
        """Bind the selected client to its real server, or let it go."""
        if (row := self.grid.selected) is not None:
            await changes.pin_or_unpin(self.console_app, row)

    def action_copy(self) -> None:
        """Copy the selected session's client and SPIs."""
        if (row := self.grid.selected) is not None:
            changes.copy(self.console_app, row)

    def action_capture(self) -> None:
        """Watch the selected client's IKE messages as they pass."""
        if (row := self.grid.selected) is not None:
            open_capture(self.console_app, changes.host_of(row.client))

    @work(exclusive=True)
    async def action_export(self) -> None:
        """Write the filtered list to a file."""
        await export_sessions(self.console_app, self._question)

    def _sort_by(self, sort: str) -> None:
        self._ask_otherwise(sort=sort, descending=sort in LARGEST_FIRST)

    def _ask_otherwise(self, **question: str | bool) -> None:
        """Ask for other rows, or for the same in another order; what is shown stays until they come."""
        self._question = msgspec.structs.replace(self._question, **question)
        self._begin = True
        self._show_head()
        self._ask_soon()

    def _ask_soon(self) -> None:
        self._wish(ORDER_AGE_S)
        if self.is_mounted and not self._asking:
            self.run_worker(self._ask(), group="look")

    def _wish(self, order_age_s: float) -> None:
        self._wish_age_s = order_age_s if self._wish_age_s is None else min(order_age_s, self._wish_age_s)

    async def _ask(self) -> None:
        """Ask as long as something is wished: one question at a time, and always for what is in sight by then."""
        if self._asking:
            return
        self._asking = True
        try:
            while (order_age_s := self._wish_age_s) is not None:
                self._wish_age_s = None
                question = self._question
                query = msgspec.structs.replace(question, max_age_s=order_age_s, **self._window())
                page = await self.console_app.link.ask(calls.ListSessions(query=query))
                if question is self._question:
                    self._hold(page)
        except Refused as refusal:
            self._problem = refusal.message
            self._show_head()
        except EngineUnreachable:
            self.console_app.look_soon()
        finally:
            self._asking = False

    def _window(self) -> dict[str, int]:
        top, lines = self.grid.window
        first = 0 if self._begin else max(0, top - MARGIN)
        return {"offset": first, "limit": min(lines + 2 * MARGIN, calls.MAX_ROWS)}

    def _hold(self, page: SessionPage) -> None:
        self._page, self._problem = page, ""
        self._rates.observe(page.rows)
        if self._begin:
            self._begin = False
            self.grid.start_over()
        self.grid.empty = self._nothing(page)
        self.grid.show_sort(self._question.sort, self._question.descending)
        self.grid.show(page.rows, offset=page.offset, total=page.matched)
        self._show_head()
        self.refresh_bindings()

    def _nothing(self, page: SessionPage) -> str:
        if page.total:
            return f" None of {count(page.total, 'session')} matches {printable(self._question.filter)}"
        snapshot = self.console_app.snapshot
        services = snapshot.status.services if snapshot else []
        at = " or ".join(f"{service.address} ({printable(service.name)})" for service in services[:2])
        return f" No session yet: point a VPN client at {at}" if at else " No service yet: press 4, then n to add one"

    def _show_head(self) -> None:
        page, question = self._page, self._question
        counted = "" if page is None else f" {grouped(page.matched)} of {grouped(page.total)}"
        filtered = Content(printable(question.filter)) or Content.styled("every session", "$text-muted")
        shown = Content.assemble((counted, "bold"), "   ", filtered)
        if self._problem:
            shown = Content.styled(f" ▲ {printable(self._problem)}", "$text-error")
        arrow = "▼" if question.descending else "▲"
        waiting = "asking…  " if self._begin else ""
        order = Content.styled(f"{waiting}by {SORT_NAMES[question.sort]} {arrow} ", "$text-muted")
        self._head.say(shown, order)
