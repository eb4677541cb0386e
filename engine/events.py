"""What happened: a bounded history, a live feed, and the log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from itertools import count, islice

import trio

from engine.control.records import Event

EVENTS_KEPT = 10_000
UNREAD_EVENTS = 1_000

log = logging.getLogger("engine.events")

_LEVELS = {"info": logging.INFO, "notice": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class EventLog:
    """Keeps the latest events and passes each on to subscribers and to the log."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._numbers = count(1)
        self._feeds: set[trio.MemorySendChannel[Event]] = set()

    def add(
        self, severity: str, kind: str, text: str, *, service: str = "", server: str = "", client: str = ""
    ) -> None:
        """Record an event: severity is info, notice, warning or error; kind a slug; text a sentence."""
        event = Event(
            number=next(self._numbers),
            at=time.time(),
            severity=severity,
            kind=kind,
            text=text,
            service=service,
            server=server,
            client=client,
        )
        self._events.append(event)
        log.log(_LEVELS[severity], "%s: %s", kind, text)
        for feed in tuple(self._feeds):
            try:
                feed.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._feeds.discard(feed)
                feed.close()

    def after(self, number: int, limit: int) -> list[Event]:
        """Events numbered above `number`, the newest `limit` of them, oldest first."""
        newest_first = (event for event in reversed(self._events) if event.number > number)
        return list(islice(newest_first, limit))[::-1]

    async def subscribe(self) -> AsyncGenerator[Event, None]:
        """Events from now on; ends when the reader is too far behind."""
        send, receive = trio.open_memory_channel[Event](UNREAD_EVENTS)
        self._feeds.add(send)
        try:
            async with receive:
                async for event in receive:
                    yield event
        finally:
            self._feeds.discard(send)
