"""weighted-response-time: the server that answers probes fastest for its weight."""

from __future__ import annotations

from collections.abc import Sequence

from engine.policy.candidate import Candidate, weighted
from engine.policy.schedulers.round_robin import SmoothRoundRobin, weight_shares


class ResponseTime:
    """The smallest RTT / w takes the session, among servers that were measured.

    An unmeasured server has no such figure, and any invented one would starve it or send it everything.
    So weighted round robin goes over all: when the turn comes to an unmeasured server it takes the session,
    when it comes to a measured one the fastest of those does.
    """

    def __init__(self) -> None:
        self._turns = SmoothRoundRobin(weight_shares)

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server of this turn; the turn is then over."""
        return _fastest_unless_unmeasured(self._turns.choose(candidates, client), candidates)

    def peek(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server of this turn."""
        return _fastest_unless_unmeasured(self._turns.peek(candidates, client), candidates)


def _fastest_unless_unmeasured(turn: Candidate | None, candidates: Sequence[Candidate]) -> Candidate | None:
    if turn is None or turn.rtt_s is None:
        return turn
    figures = [
        (server.rtt_s / server.effective_weight, server) for server in weighted(candidates) if server.rtt_s is not None
    ]
    return min(figures, key=lambda figure: figure[0])[1]
