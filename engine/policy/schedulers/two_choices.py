"""two-choices: two servers drawn by weight, the less loaded of them takes the session."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from engine.policy.candidate import Candidate, weighted
from engine.policy.schedulers.smallest import weighted_connections


class TwoChoices:
    """Two independent draws, which may fall on one server; the smaller c/w of both takes the session.

    Several balancers that see the same session counts do not all rush to the one idle server.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        # Drawn ahead, so that peek can tell what choose will do.
        self._draws = (random.random(), random.random())

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The winner of the two draws; they are then used up."""
        chosen = self.peek(candidates, client)
        self._draws = (self._random.random(), self._random.random())
        return chosen

    def peek(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The winner of the two draws."""
        servers = weighted(candidates)
        if not servers:
            return None
        bounds = list(accumulate(server.effective_weight for server in servers))
        # A draw is below 1, so none falls past the last bound.
        drawn = sorted(bisect(bounds, draw * bounds[-1]) for draw in self._draws)
        return min((servers[index] for index in drawn), key=weighted_connections)
