"""What a scheduler knows of a real server when it places a new session."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A real server that a new session may go to."""

    name: str
    weight: int
    """As configured; 0 takes no new sessions."""
    effective_weight: float
    """After slow start; above 0 whenever the weight is."""
    sessions: float
    """Established ones, plus a quarter of the half-open ones."""
    rtt_s: float | None
    """Smoothed round-trip time of health probes; None: never measured."""
    agent_load: int | None
    """0 idle to 100 overloaded, 101 down, 102 disabled; None: the agent has not answered."""

    @property
    def eased(self) -> float:
        """Part of its weight that counts so far, 0..1: below 1 while it is in slow start."""
        return self.effective_weight / self.weight if self.weight else 1.0


def weighted(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that take new sessions at all: weight above 0, in the order given."""
    return [candidate for candidate in candidates if candidate.weight > 0]
