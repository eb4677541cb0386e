"""Schedulers that take the server with the smallest figure and remember nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.policy.candidate import Candidate, weighted


def connections(server: Candidate) -> float:
    """least-connections: c."""
    return server.load


def weighted_connections(server: Candidate) -> float:
    """weighted-least-connections: c/w."""
    return server.load / server.effective_weight


def expected_delay(server: Candidate) -> float:
    """shortest-expected-delay: (c+1)/w, so that an idle heavy server goes before an idle light one."""
    return (server.load + 1) / server.effective_weight


def rank(server: Candidate) -> float:
    """fixed: the highest weight first.

    The configured one: the server that takes all has no share to be eased into.
    """
    return -server.weight


class Smallest:
    """The server with the smallest figure takes the session."""

    def __init__(self, figure: Callable[[Candidate], float]) -> None:
        self._figure = figure

    def choose(self, candidates: Sequence[Candidate], client: bytes) -> Candidate | None:
        """The first server with the smallest figure."""
        return min(weighted(candidates), key=self._figure, default=None)

    peek = choose
