"""Schedulers: which real server a new session goes to."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from engine.policy.candidate import Candidate
from engine.policy.schedulers import smallest
from engine.policy.schedulers.maglev import Maglev
from engine.policy.schedulers.response_time import ResponseTime
from engine.policy.schedulers.round_robin import (
    SmoothRoundRobin,
    adaptive_shares,
    equal_shares,
    weight_shares,
)
from engine.policy.schedulers.smallest import Smallest
from engine.policy.schedulers.source_hash import SourceHash
from engine.policy.schedulers.two_choices import TwoChoices


class Scheduler(Protocol):
    """Places new sessions among the eligible servers of one service.

    Candidates come in configuration order, with unique names: of equals the first wins. `client` is the
    packed address by which a client is known, 4 or 16 bytes.
    """

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The server for a new session, counted as placed; None: there is none with a weight."""

    def peek(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """What `choose` would answer, with nothing counted."""


def make_scheduler(kind: str, *, key: bytes, random: Random) -> Scheduler:
    """A fresh scheduler of a kind as the configuration names it.

    `key` is the installation's secret for hashes, 1 to 64 bytes. Raises ValueError for another length or an
    unknown kind.
    """
    if not 1 <= len(key) <= 64:
        raise ValueError(f"the hash key has {len(key)} bytes: give it 1 to 64")
    match kind:
        case "round-robin":
            return SmoothRoundRobin(equal_shares)
        case "weighted-round-robin":
            return SmoothRoundRobin(weight_shares)
        case "adaptive":
            return SmoothRoundRobin(adaptive_shares)
        case "least-connections":
            return Smallest(smallest.connections)
        case "weighted-least-connections":
            return Smallest(smallest.weighted_connections)
        case "shortest-expected-delay":
            return Smallest(smallest.expected_delay)
        case "fixed":
            return Smallest(smallest.rank)
        case "weighted-response-time":
            return ResponseTime()
        case "two-choices":
            return TwoChoices(random)
        case "source-hash":
            return SourceHash(key)
        case "maglev":
            return Maglev(key)
        case _:
            raise ValueError(f"no scheduler is named {kind!r}")
