"""Which part of a service's new sessions each real server gets in the long run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from engine.policy.candidate import Snapshot, weighted
from engine.policy.schedulers.round_robin import adaptive_shares, equal_shares, weight_shares

WITHOUT_WEIGHTS = frozenset({"round-robin", "least-connections"})
"""Schedulers to which a weight says only whether a server takes sessions at all."""


def long_run_shares(scheduler: str, candidates: Sequence[Snapshot]) -> dict[str, float]:
    """Parts of 1 by name, of servers that take new sessions, with every slow start over.

    For the quickest server of `weighted-response-time` it goes by the latest probes, for `adaptive` by what the load
    agents say now.
    """
    settled = [replace(server, effective_weight=float(server.weight)) for server in weighted(candidates)]
    match scheduler:
        case "fixed":
            first = max(settled, key=lambda server: server.weight, default=None)
            return {server.name: float(server is first) for server in settled}
        case "weighted-response-time" if all(server.rtt_s is not None for server in settled):
            first = min(settled, key=lambda server: (server.rtt_s or 0) / server.weight, default=None)
            return {server.name: float(server is first) for server in settled}
        case "adaptive":
            shares = adaptive_shares(settled)
        case _ if scheduler in WITHOUT_WEIGHTS:
            shares = equal_shares(settled)
        case _:
            shares = weight_shares(settled)
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}
