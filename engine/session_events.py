"""Tells of sessions that were established, ended or failed."""

from __future__ import annotations

import math

import msgspec

from engine.events import EventLog
from engine.sessions.endings import RECOGNISED
from engine.sessions.flow import SocketAddress, format_address
from engine.sessions.query import totals
from engine.sessions.session import Session
from engine.wording import spelled_span

_UNITS = ("kB", "MB", "GB", "TB")


class SessionEvents:
    """Turns what becomes of sessions into events."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def established(self, session: Session) -> None:
        """A session was set up."""
        words = _SetUp(
            session.whereabouts, session.host, session.server.name, session.anonymous, session.handshake_s, session.why
        )
        self._tell("info", "session-established", words, session)

    def moved(self, session: Session, before: SocketAddress) -> None:
        """The client goes on from elsewhere, and keeps its real server."""
        here = format_address(session.place or before)
        text = f"{here} goes on from there on {session.server.name}; it came from {format_address(before)}"
        self._tell("info", "session-moved", text, session)

    def ended(self, session: Session, reason: str) -> None:
        """A session ends: one that was never established failed."""
        who, server = _client(session.whereabouts, session.host), session.server.name
        if session.was_established:
            passed = totals(session)
            lived = spelled_span(session.last_activity_s() - session.created_s)
            data = f"{_bytes(passed.bytes_in)} in, {_bytes(passed.bytes_out)} out"
            self._tell("info", "session-ended", f"{who} on {server} ended after {lived}: {reason}; {data}", session)
        elif reason is not RECOGNISED:
            self._tell("notice", "session-failed", f"{who} on {server} was never set up: {reason}", session)

    def _tell(self, severity: str, kind: str, text: object, session: Session) -> None:
        self._events.add_of_session(
            severity, kind, text, service=session.service.name, server=session.server.name, client=session.host
        )


class _SetUp(msgspec.Struct, frozen=True, gc=False):
    """How a session was set up, as it then was: there may be thousands a second, and few are ever read."""

    place: SocketAddress | None
    host: str
    server: str
    anonymous: bool
    handshake_s: float | None
    why: str

    def __str__(self) -> str:
        if self.anonymous:
            took = "was there before: its IKE messages were not seen"
        elif self.handshake_s is None:
            took = "was there before: the beginning of its handshake was not seen"
        else:
            took = f"was set up in {_precise(self.handshake_s)}"
        return f"{_client(self.place, self.host)} on {self.server} {took}; {self.why}"


def _client(place: SocketAddress | None, host: str) -> str:
    return format_address(place) if place else host


def _precise(span_s: float) -> str:
    return f"{span_s * 1000:.0f} ms" if span_s < 10 else spelled_span(span_s)


def _bytes(number: float) -> str:
    if number < 1000:
        return f"{number:.0f} bytes"
    power = min(int(math.log10(number)) // 3, len(_UNITS))
    number /= 1000**power
    return f"{number:.1f} {_UNITS[power - 1]}" if number < 10 else f"{number:.0f} {_UNITS[power - 1]}"
