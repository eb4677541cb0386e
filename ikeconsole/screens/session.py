"""One session: why it is where it is, what it consists of, and what passed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual import work
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control import calls
from engine.control.api import Refused
from engine.control.records import Event, Explanation, SessionDetail, SessionRow
from ikeconsole.actions import bindings
from ikeconsole.changes import sessions as changes
from ikeconsole.navigation import open_capture, open_server
from ikeconsole.render.columns import printable
from ikeconsole.render.events import event_line
from ikeconsole.render.numbers import age
from ikeconsole.render.session_page import session_end, session_facts, session_messages
from ikeconsole.render.sessions import phase
from ikeconsole.screens.place import Place
from ikeconsole.session_rates import SessionRates
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.page import Page

ENDINGS = frozenset({"session-ended", "session-failed", "cleared", "moved"})
"""The kinds of events that tell why a session is no more."""


class Session(Place):
    """The page of one session, which outlives it."""

    PLACE = "session"
    BINDINGS = bindings("session")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012 Textual declares it so

    def __init__(self, number: int, row: SessionRow | None = None) -> None:
        super().__init__()
        self._number = number
        self._row = row
        """What is known of it, the latest."""
        self._detail: SessionDetail | None = None
        self._outlook: Explanation | None = None
        self._rates = SessionRates()
        self._head = HeadLine()
        self._end = Static(id="session-end")
        self._facts = Static(id="session-facts")
        self._messages = Static(id="session-messages")
        self._seen_at: float | None = None
        """When the engine last knew it, on the engine's clock."""
        self._run: tuple[str, int, float] | None = None
        """The run of the engine that numbered it."""
        self._ended = False
        self._told = ""
        """What is known of its end."""

    @property
    def crumb(self) -> str:
        """The client's address."""
        return self._row.client if self._row else f"session {self._number}"

    def body(self) -> Iterable[Widget]:
        """The head line; the facts and the messages, side by side where there is room."""
        yield self._head
        with Page(id="session"):
            yield self._end
            yield self._facts
            yield self._messages

    def on_mount(self) -> None:
        """Show what the list knew until the engine answers."""
        self.query_one("#session").focus()
        if (snapshot := self.console_app.snapshot) is not None:
            self._run = snapshot.run
        self._show_head()

    async def look(self) -> None:
        """Ask for the session and for where its client would go now."""
        snapshot = self.console_app.snapshot
        if snapshot is not None and snapshot.run != (self._run or snapshot.run):
            self._notice_restart()
            await self._look_ahead()
            self._draw()
            return
        try:
            detail = await self.console_app.link.ask(calls.GetSession(number=self._number))
        except Refused:
            await self._notice_end()
        else:
            self._detail, self._row, self._ended = detail, detail.row, False
            self._seen_at = self._now_at
            self._rates.observe([detail.row])
        await self._look_ahead()
        self._draw()

    def offers(self, action: str) -> bool:
        """What ended cannot be changed."""
        return self._row is not None and (not self._ended or action in ("copy", "capture", "server"))

    def action_capture(self) -> None:
        """Watch its client's IKE messages as they pass."""
        if self._row is not None:
            open_capture(self.console_app, changes.host_of(self._row.client))

    def action_server(self) -> None:
        """Open its real server."""
        if self._row is not None:
            open_server(self.console_app, self._row.service, self._row.server)

    @work(exclusive=True)
    async def action_clear(self) -> None:
        """Forget it, or its client."""
        if self._row is not None:
            await changes.clear(self.console_app, self._row)

    @work(exclusive=True)
    async def action_move(self) -> None:
        """Send its client to another real server."""
        if self._row is not None:
            await changes.move(self.console_app, self._row)

    @work(exclusive=True)
    async def action_pin(self) -> None:
        """Bind its client to its real server, or let it go."""
        if self._row is not None:
            await changes.pin_or_unpin(self.console_app, self._row)

    def action_copy(self) -> None:
        """Copy client, server and SPIs."""
        if self._row is not None:
            changes.copy(self.console_app, self._row)

    @property
    def _now_at(self) -> float:
        snapshot = self.console_app.snapshot
        return snapshot.status.now_at if snapshot else time.time()

    def _notice_restart(self) -> None:
        """Its number means another session from now on, or none."""
        if not self._ended:
            self._ended, self._told = True, "the engine was restarted"
            self.refresh_bindings()

    async def _notice_end(self) -> None:
        """Find out, once, what became of it."""
        if not self._ended:
            events = await self.console_app.link.ask(calls.ListEvents(limit=calls.MAX_ROWS))
            self._ended, self._told = True, self._ending(events)
            self.refresh_bindings()

    def _ending(self, events: list[Event]) -> str:
        """The newest event that tells of the end of this session, or else of something of its client."""
        if self._row is None:
            return ""
        client, host = self._row.client, changes.host_of(self._row.client)
        telling = [event for event in events if event.kind in ENDINGS and changes.host_of(event.client) == host]
        newest = max(telling, key=lambda event: (event.text.startswith(client), event.number), default=None)
        return event_line(newest).plain if newest else ""

    async def _look_ahead(self) -> None:
        if self._row is None:
            return
        try:
            answers = await self.console_app.link.ask(calls.Explain(client=changes.host_of(self._row.client)))
        except Refused:
            answers = []
        self._outlook = next((one for one in answers if one.service == self._row.service), None)

    def _draw(self) -> None:
        styles = self.console_app.state_styles
        self._show_head()
        self._end.display = self._ended
        if self._ended:
            ago_s = None if self._seen_at is None else self._now_at - self._seen_at
            successors = [one.row for one in self._outlook.sessions] if self._outlook else []
            self._end.update(session_end(ago_s, self._told, successors, styles))
        if self._detail is not None:
            outlook = None if self._ended else self._outlook
            rate = self._rates.of(self._number)
            facts = session_facts(self._detail, outlook, rate, self._seen_at or self._now_at, styles)
            self._facts.update(facts)
            self._messages.update(session_messages(self._detail.messages, styles))

    def _show_head(self) -> None:
        row = self._row
        if row is None:
            self._head.say(Content.styled(f" session {self._number}", "bold"), Content(""))
            return
        where = Content.styled(printable(f" {row.client} → {row.server}"), "bold")
        service = Content.styled(printable(f"  {row.service}"), "$text-muted")
        state = phase(row, self.console_app.state_styles)
        living = Content.assemble(Content.from_rich_text(state), f" {age(row.age_s)} ")
        said = Content.styled("ended ", "$text-warning") if self._ended else living
        self._head.say(Content.assemble(where, service), said)
