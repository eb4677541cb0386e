"""The oldest session of every real server, found without looking at all sessions each time."""

from __future__ import annotations

from collections.abc import Iterable

from engine.sessions.real_server import RealServer
from engine.sessions.session import Phase, Session


class OldestSessions:
    """What was found last: a real server's oldest session stays its oldest until it ends or falls asleep."""

    def __init__(self) -> None:
        self._oldest: dict[RealServer, Session] = {}
        self._sought: set[RealServer] = set()

    def age_s(self, server: RealServer, now_s: float) -> float | None:
        """Age of a real server's oldest session; None: it has none, or it was not found yet."""
        session = self._oldest.get(server)
        return now_s - session.created_s if session is not None and _counts(session) else None

    def seek(self, servers: Iterable[RealServer]) -> bool:
        """Begin a look through all sessions; says whether any server's oldest is unknown, else it need not be made."""
        kept = {server: session for server in servers if (session := self._oldest.get(server)) and _counts(session)}
        self._sought = {server for server in servers if server not in kept and server.established + server.half_open}
        self._oldest = kept
        return bool(self._sought)

    def feed(self, sessions: Iterable[Session]) -> bool:
        """Look at some sessions, the oldest first; says whether to go on."""
        sought = self._sought
        for session in sessions:
            if session.server in sought and _counts(session):
                self._oldest[session.server] = session
                sought.discard(session.server)
                if not sought:
                    break
        return bool(sought)


def _counts(session: Session) -> bool:
    """Whether it is among the sessions that its server's status counts."""
    return session.phase not in (Phase.IDLE, Phase.CLOSED)
