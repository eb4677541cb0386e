"""The events that the console has fetched, and which of them match what the operator looks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from engine.control.records import Event

SEVERITIES = ("info", "notice", "warning", "error")
"""The least grave first."""
MOST_EVENTS = 25_000


class EventHistory:
    """Bounded like the engine's own: the oldest events go first."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._engine: Hashable = None
        self.complete = False
        """Whether the engine has nothing older."""

    def __len__(self) -> int:
        return len(self._events)

    @property
    def newest(self) -> int:
        """The number of the newest event; 0: none."""
        return self._events[-1].number if self._events else 0

    @property
    def oldest(self) -> int:
        """The number of the oldest event; 0: none."""
        return self._events[0].number if self._events else 0

    def begin(self, engine: Hashable) -> bool:
        """Forget everything if this is another engine than before; whether it is."""
        if engine == self._engine:
            return False
        self._engine = engine
        self._events.clear()
        self.complete = False
        return True

    def add_newer(self, events: list[Event]) -> None:
        """Take over what happened after the newest."""
        self._events.extend(event for event in events if event.number > self.newest)

    def add_older(self, events: list[Event]) -> None:
        """Take over what happened before the oldest, as far as there is room."""
        room = MOST_EVENTS - len(self._events)
        kept = events[-room:] if room else []
        self._events.extendleft(reversed(kept))
        self.complete = not events or len(kept) < len(events)

    def matching(self, words: str, least: str) -> list[Event]:
        """The events that are at least so grave and have every word, in any case of letters."""
        wanted = words.lower().split()
        grave = SEVERITIES[SEVERITIES.index(least) :]
        return [
            event
            for event in self._events
            if (event.severity in grave or event.severity not in SEVERITIES)
            and (not wanted or all(word in _text(event) for word in wanted))
        ]


def _text(event: Event) -> str:
    return f"{event.severity} {event.kind} {event.text} {event.service} {event.server} {event.client}".lower()
