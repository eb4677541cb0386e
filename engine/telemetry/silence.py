"""Which real servers get requests and answer nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import inf

from engine.sessions.query import totals
from engine.sessions.real_server import RealServer
from engine.sessions.session import Session

ANSWER_DUE_S = 5.0
"""By then a client has asked again, and a server that works has answered."""
ASKED_TWICE = 2
LOOKED_AT = 2_000
"""Half-open sessions looked at, the oldest first: in a flood the rest says nothing new."""
FORGOTTEN_AFTER_S = 300.0
"""With nobody asking any more, nobody can tell whether it would answer."""


@dataclass(slots=True)
class _Watch:
    packets_out: int
    silent_since_s: float
    unanswered: int = 0
    asked_s: float = 0.0


class Silence:
    """Watches the packets that real servers send; only where none came are half-open sessions looked at."""

    def __init__(self) -> None:
        self._watches: dict[RealServer, _Watch] = {}

    def look(self, servers: Iterable[RealServer], half_open: Iterable[Session], now_s: float) -> None:
        """Take in how things stand; `half_open` are sessions, the oldest first."""
        before, self._watches = self._watches, {}
        suspects = set()
        for server in servers:
            watch = before.get(server)
            if watch is None or watch.packets_out != server.packets_out:
                watch = _Watch(server.packets_out, now_s if server.packets_out else -inf)
            self._watches[server] = watch
            if server.half_open and now_s - watch.silent_since_s >= ANSWER_DUE_S:
                suspects.add(server)
            if watch.unanswered and now_s - watch.asked_s > FORGOTTEN_AFTER_S:
                watch.unanswered = 0
        if not suspects:
            return
        unanswered = Counter(
            session.server
            for session in islice(half_open, LOOKED_AT)
            if session.server in suspects
            # Whoever asked before the server's last word and gave up says nothing of the time after it.
            and session.last_seen_s >= self._watches[session.server].silent_since_s
            and _unanswered(session, now_s)
        )
        for server, sessions in unanswered.items():
            self._watches[server].unanswered = sessions
            self._watches[server].asked_s = now_s

    def unanswered(self, server: RealServer) -> int:
        """How many sessions wait for a first answer of a real server that answers nobody; 0: it does answer."""
        watch = self._watches.get(server)
        return watch.unanswered if watch else 0


def _unanswered(session: Session, now_s: float) -> bool:
    # Without an IKE message it is ESP of a tunnel that the server may have forgotten: that draws no answer.
    if session.anonymous or now_s - session.created_s < ANSWER_DUE_S:
        return False
    passed = totals(session)
    return passed.packets_in >= ASKED_TWICE and not passed.packets_out
