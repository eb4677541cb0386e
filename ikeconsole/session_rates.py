"""How fast data passes in sessions, from two looks at each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.control.records import SessionRow

SHORTEST_S = 0.4
"""Looks that are closer together, as while scrolling, say little about a rate."""


@dataclass(frozen=True, slots=True)
class SessionRate:
    """Bytes per second in both directions."""

    bytes_in: float
    bytes_out: float


@dataclass(frozen=True, slots=True)
class _Seen:
    row: SessionRow
    rate: SessionRate | None


class SessionRates:
    """Remembers the last look at the sessions that are held."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def observe(self, rows: Iterable[SessionRow]) -> None:
        """Take in a new look; sessions that are not in it are forgotten."""
        self._seen = {row.id: _next(self._seen.get(row.id), row) for row in rows}

    def of(self, session: int) -> SessionRate | None:
        """A session's rate; None until it was looked at twice."""
        seen = self._seen.get(session)
        return seen.rate if seen else None


def _next(before: _Seen | None, row: SessionRow) -> _Seen:
    if before is None:
        return _Seen(row, None)
    # Both ages are on the engine's clock: how long the answers took does not matter.
    span_s = row.age_s - before.row.age_s
    if span_s < 0:  # another session: an engine that was restarted numbers them anew
        return _Seen(row, None)
    if span_s < SHORTEST_S:
        return before
    old, new = before.row.traffic, row.traffic
    rate = SessionRate(
        max(0, new.bytes_in - old.bytes_in) / span_s,
        max(0, new.bytes_out - old.bytes_out) / span_s,
    )
    return _Seen(row, rate)
