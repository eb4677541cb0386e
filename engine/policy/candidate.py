"""What a scheduler knows of a real server when it places a new session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec


class Candidate(Protocol):
    """A real server that a new session may go to: most figures are asked of the few schedulers that go by them."""

    @property
    def name(self) -> str:
        """Unique within the service."""

    @property
    def weight(self) -> int:
        """As configured; 0 takes no new sessions."""

    @property
    def effective_weight(self) -> float:
        """After slow start; above 0 whenever the weight is."""

    @property
    def load(self) -> float:
        """Established sessions, plus a quarter of the half-open ones."""

    @property
    def rtt_s(self) -> float | None:
        """Smoothed round-trip time of health probes; None: never measured."""

    @property
    def agent_load(self) -> int | None:
        """0 idle to 100 overloaded, 101 down, 102 disabled; None: the agent has not answered."""


AnyCandidate = TypeVar("AnyCandidate", bound=Candidate)


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A candidate as it was at one moment."""

    name: str
    weight: int
    effective_weight: float
    load: float
    rtt_s: float | None
    agent_load: int | None

    @property
    def eased(self) -> float:
        """Part of its weight that counts so far, 0..1: below 1 while it is in slow start."""
        return self.effective_weight / self.weight if self.weight else 1.0


def weighted(candidates: Iterable[AnyCandidate]) -> list[AnyCandidate]:
    """Those that take new sessions at all: weight above 0, in the order given."""
    return [candidate for candidate in candidates if candidate.weight > 0]
