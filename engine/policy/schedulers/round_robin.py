"""Smooth round robin, by equal, configured or load-adapted shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.policy.candidate import Candidate, weighted
from engine.policy.eligibility import AGENT_DOWN

Shares = dict[str, float]
"""Server name to its part of new sessions, above 0, in configuration order."""

QUIET_LOAD = 5
"""Below this, in per cent, an agent's answer is noise."""


def equal_shares(candidates: Sequence[Candidate]) -> Shares:
    """The same for every server."""
    return {server.name: 1.0 for server in weighted(candidates)}


def weight_shares(candidates: Sequence[Candidate]) -> Shares:
    """By weight."""
    return {server.name: server.effective_weight for server in weighted(candidates)}


def adaptive_shares(candidates: Sequence[Candidate]) -> Shares:
    """By weight and by what the load agents leave free: w(100 - a)/100.

    A server whose agent says down or disabled has no part. One whose agent has not answered counts as idle,
    so it goes by weight. Weights alone decide while all servers are quiet, and also when all are overloaded:
    turning every client away would help none of them.
    """
    serving = [(server, load) for server in weighted(candidates) if (load := server.agent_load or 0) < AGENT_DOWN]
    if all(load < QUIET_LOAD for _, load in serving) or all(load == 100 for _, load in serving):
        return {server.name: server.effective_weight for server, _ in serving}
    return {server.name: server.effective_weight * (100 - load) / 100 for server, load in serving if load < 100}


class SmoothRoundRobin:
    """Servers take turns in proportion to their shares, spread out rather than in bursts.

    Before each session every server is credited its share; the richest is chosen and pays the sum of all.
    """

    def __init__(self, shares: Callable[[Sequence[Candidate]], Shares]) -> None:
        self._shares_of = shares
        self._shares: Shares = {}
        self._credits: dict[str, float] = {}

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server whose turn it is; its turn is then over."""
        shares = self._shares_of(candidates)
        credits = self._credited(shares)
        chosen = _richest(candidates, credits)
        if chosen is not None:
            credits[chosen.name] -= sum(shares.values())
        self._shares, self._credits = shares, credits
        return chosen

    def peek(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server whose turn it is."""
        return _richest(candidates, self._credited(self._shares_of(candidates)))

    def _credited(self, shares: Shares) -> dict[str, float]:
        before = self._credits if shares == self._shares else self._carried_over(shares)
        return {name: before[name] + share for name, share in shares.items()}

    def _carried_over(self, shares: Shares) -> dict[str, float]:
        """Credits under new shares, scaled so that each is owed as many turns as before; a newcomer none.

        Unscaled, a server whose weight was lowered would sit out the large debt of its old weight.
        """
        if not self._shares:
            return dict.fromkeys(shares, 0.0)
        scale = sum(shares.values()) / sum(self._shares.values())
        return {name: self._credits.get(name, 0.0) * scale for name in shares}


def _richest(candidates: Sequence[Candidate], credits: dict[str, float]) -> Candidate | None:
    if not credits:
        return None
    name = max(credits, key=credits.__getitem__)
    return next(server for server in candidates if server.name == name)
