"""How fast one thing counts: now, and over the last hour."""

from __future__ import annotations

from array import array
from collections import deque

from engine.control.calls import MAX_POINTS
from engine.control.status import Rates, Series
from engine.telemetry.counts import Counts

RATE_TICKS = 5
"""Samples over which rates are taken."""
SERIES_RATES = ("new_sessions", "packets_in", "bytes_in", "packets_out", "bytes_out")

_NOTHING = Rates()


class Meter:
    """Samples of one thing's counters, and an hour of means: 24 bytes a point."""

    def __init__(self, started_s: float) -> None:
        self._totals = Counts()
        self._passed = Counts()
        """Like the totals, but it never goes back."""
        self._recent: deque[tuple[float, Counts]] = deque([(started_s, self._passed)], maxlen=RATE_TICKS + 1)
        self._last_point = self._recent[0]
        self._sessions = array("I")
        self._means = {name: array("f") for name in SERIES_RATES}

    def sample(self, totals: Counts, now_s: float) -> Counts:
        """Take in what the thing has counted by now; returns what was added since the last time."""
        added = totals.since(self._totals)
        self._totals = totals
        self._passed = self._passed.plus(added)
        self._recent.append((now_s, self._passed))
        return added

    def rates(self) -> Rates:
        """What happens per second, over the latest samples."""
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        span_s = last_s - first_s
        if span_s <= 0 or first == last:
            return _NOTHING
        # Of thousands of real servers at once, each second: taken apart and put together only once.
        return Rates(
            **{
                name: round((now - before) / span_s, 2)
                for name, before, now in zip(Counts._fields, first, last, strict=True)
            }
        )

    def add_point(self, sessions: int) -> None:
        """End a step of the series with the latest sample."""
        (first_s, first), (last_s, last) = self._last_point, self._recent[-1]
        if last_s <= first_s:
            return
        self._last_point = self._recent[-1]
        passed = last.since(first)
        self._sessions.append(sessions)
        for name, means in self._means.items():
            means.append(getattr(passed, name) / (last_s - first_s))
        if len(self._sessions) > MAX_POINTS:
            del self._sessions[0]
            for means in self._means.values():
                del means[0]

    def series(self, service: str, server: str, points: int, step_s: float, until_at: float) -> Series:
        """The latest points, the oldest first; fewer when the thing is younger."""
        means = {name: means[-points:] for name, means in self._means.items()}
        return Series(
            service=service,
            server=server,
            step_s=step_s,
            until_at=until_at,
            sessions=self._sessions[-points:].tolist(),
            new_sessions=[round(mean, 2) for mean in means["new_sessions"]],
            packets_in=[round(mean, 1) for mean in means["packets_in"]],
            bytes_in=[round(mean, 0) for mean in means["bytes_in"]],
            packets_out=[round(mean, 1) for mean in means["packets_out"]],
            bytes_out=[round(mean, 0) for mean in means["bytes_out"]],
        )
