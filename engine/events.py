"""What happened: a bounded history, a live feed, and the log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import count as numbers_from

import msgspec
import trio

from engine.control.records import Event
from engine.wording import count

EVENTS_KEPT = 10_000
"""Of sessions' events, and as many of all others: a storm of the ones never pushes the others out."""
UNREAD_EVENTS = 1_000
MAX_TEXT_CHARACTERS = 1_000
"""Of one event, such as a refusal that names everything wrong with a file: a thousand events fit into an answer."""
SESSION_EVENTS_A_SECOND = 200
"""What a feed gets of them at most: each costs the forwarder more time than it takes to note it."""

log = logging.getLogger("engine.events")

_LEVELS = {"info": logging.INFO, "notice": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Noted(msgspec.Struct, frozen=True, gc=False):
    """An event as it is kept: it is put into words when somebody reads it, as nobody does with most of a storm."""

    number: int
    at: float
    severity: str
    kind: str
    text: object
    service: str
    server: str
    client: str

    def told(self) -> Event:
        """As it is published."""
        return Event(
            number=self.number,
            at=self.at,
            severity=self.severity,
            kind=self.kind,
            text=str(self.text),
            service=self.service,
            server=self.server,
            client=self.client,
        )


class EventLog:
    """Keeps the latest events and passes each on to subscribers and to the log."""

    def __init__(self) -> None:
        self._of_sessions: deque[_Noted] = deque(maxlen=EVENTS_KEPT)
        self._others: deque[_Noted] = deque(maxlen=EVENTS_KEPT)
        self._numbers = numbers_from(1)
        self._feeds: set[_Feed] = set()

    def add(
        self, severity: str, kind: str, text: str, *, service: str = "", server: str = "", client: str = ""
    ) -> None:
        """Record an event: severity is info, notice, warning or error; kind a slug; text a sentence."""
        if len(text) > MAX_TEXT_CHARACTERS:
            text = f"{text[:MAX_TEXT_CHARACTERS]}…"
        noted = _Noted(next(self._numbers), time.time(), severity, kind, text, service, server, client)
        self._others.append(noted)
        log.log(_LEVELS[severity], "%s: %s", kind, text)
        event = noted.told()
        for feed in tuple(self._feeds):
            if not feed.take(event):
                self._feeds.discard(feed)

    def add_of_session(self, severity: str, kind: str, text: object, *, service: str, server: str, client: str) -> None:
        """Record what became of one session: there may be thousands a second, so feeds get what they can take.

        `text`: a sentence, or what `str` makes one of when somebody reads it; then it must not change any more.
        """
        noted = _Noted(next(self._numbers), time.time(), severity, kind, text, service, server, client)
        self._of_sessions.append(noted)
        log.debug("%s: %s", kind, text)
        for feed in self._feeds:
            feed.offer(noted)

    @property
    def last_number(self) -> int:
        """The number of the newest event; 0: there is none."""
        return max((ring[-1].number for ring in (self._of_sessions, self._others) if ring), default=0)

    def after(self, number: int, limit: int, *, before: int = 0) -> list[Event]:
        """Events numbered above `number` and below `before` (0: all), the newest `limit` of them, oldest first."""
        if limit <= 0:
            return []
        found: list[_Noted] = []
        for ring in (self._of_sessions, self._others):
            found += [event for event in ring if event.number > number and (event.number < before or not before)][
                -limit:
            ]
        found.sort(key=lambda event: event.number)
        return [event.told() for event in found[-limit:]]

    async def subscribe(self) -> AsyncGenerator[Event, None]:
        """Events from now on; ends when the reader is too far behind."""
        feed = _Feed()
        self._feeds.add(feed)
        try:
            async with feed.receive:
                async for event in feed.receive:
                    yield event
        finally:
            self._feeds.discard(feed)


class _Feed:
    """What waits for one subscriber."""

    def __init__(self) -> None:
        self._send, self.receive = trio.open_memory_channel[Event](UNREAD_EVENTS)
        self._second = 0
        self._offered = 0
        """Session events of this second."""
        self._left_out = 0
        self._latest_left_out: _Noted | None = None

    def take(self, event: Event) -> bool:
        """Pass an event on; False: the reader is gone, or so far behind that it gets what waits and then the end."""
        try:
            self._own_up(event)
            self._send.send_nowait(event)
        except (trio.WouldBlock, trio.BrokenResourceError):
            self._send.close()
            return False
        return True

    def offer(self, noted: _Noted) -> None:
        """Pass an event of a session on if there is room and time for it."""
        second = int(noted.at)
        if second != self._second:
            self._second, self._offered = second, 0
        self._offered += 1
        if self._offered > SESSION_EVENTS_A_SECOND or 2 * self._send.statistics().current_buffer_used > UNREAD_EVENTS:
            self._left_out += 1
            self._latest_left_out = noted
            return
        event = noted.told()
        with suppress(trio.BrokenResourceError):
            self._own_up(event)
            self._send.send_nowait(event)

    def _own_up(self, following: Event) -> None:
        """Say how many were left out before an event, under the number of the last of them."""
        if self._latest_left_out is None:
            return
        number, left_out = self._latest_left_out.number, self._left_out
        self._latest_left_out, self._left_out = None, 0
        text = (
            f"{count(left_out, 'session event')} left out here: there were too many at once; the latest can be listed"
        )
        self._send.send_nowait(Event(number=number, at=following.at, severity="info", kind="left-out", text=text))
