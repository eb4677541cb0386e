"""Says once, not for every datagram, that a service turns new clients away."""

from __future__ import annotations

from engine.events import EventLog
from engine.sessions.service import Service

_TEXTS = {
    "no-server": "no real server takes new sessions: new clients get no answer",
    "table-full": "the session table is full of established sessions: new clients get no answer; raise max_sessions",
}


class Starvation:
    """Turns the first refusal, and the first new session after it, into events."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def begins(self, service: Service, reason: str) -> None:
        """A client was turned away; only want of servers or of room is told."""
        if reason in _TEXTS and not service.starved:
            service.starved = True
            self._events.add("error", reason, f"{service.name}: {_TEXTS[reason]}", service=service.name)

    def ends(self, service: Service) -> None:
        """A new client was taken."""
        service.starved = False
        self._events.add(
            "notice", "takes-clients", f"{service.name}: new clients are taken again", service=service.name
        )
