"""Rates and series of the engine, of every service and of every real server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.control.status import Rates, Series
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.telemetry.counts import Counts, counts_of, sessions_of
from engine.telemetry.meter import Meter

TICK_S = 1.0
TICKS_A_POINT = 5
STEP_S = TICK_S * TICKS_A_POINT
POINTS_AN_ANSWER = 6_000
"""In all series of an answer together: of at most some seventy bytes each, less than half of a message."""

Thing = Service | RealServer
Named = tuple[str, str, Thing | None]
"""Names of service and real server, empty for the whole, and what they name; None: the engine."""


def everything(services: Iterable[Service]) -> list[Named]:
    """The engine, every service, every real server."""
    named: list[Named] = [("", "", None)]
    for service in services:
        named.append((service.name, "", service))
        named += [(service.name, server.name, server) for server in service.servers.values()]
    return named


class Sampler:
    """One meter for each thing that is in force; what is made anew, even under an old name, starts anew."""

    def __init__(self, now_s: float) -> None:
        self._engine = Meter(now_s)
        self._engine_totals = Counts()
        self._meters: dict[Thing, Meter] = {}
        self._sampled_s = now_s
        self._ticks = 0
        self._until_at = 0.0

    def sample(self, services: Iterable[Service], now_s: float, now_at: float) -> None:
        """Read every counter, once a tick; `now_at` is the Unix time."""
        self._ticks += 1
        ends_step = self._ticks % TICKS_A_POINT == 0
        before, self._meters = self._meters, {}
        sessions = 0
        for service in services:
            things: tuple[Thing, ...] = (service, *service.servers.values())
            for thing in things:
                # Whatever is new began after the last sample, with its counters at nothing.
                meter = self._meters[thing] = before.get(thing) or Meter(self._sampled_s)
                added = meter.sample(counts_of(thing), now_s)
                if thing is service:
                    self._engine_totals = self._engine_totals.plus(added)
                    sessions += sessions_of(service)
                if ends_step:
                    meter.add_point(sessions_of(thing))
        self._engine.sample(self._engine_totals, now_s)
        self._sampled_s = now_s
        if ends_step:
            self._engine.add_point(sessions)
            self._until_at = now_at

    def rates(self, thing: Thing | None = None) -> Rates:
        """What happens per second; of the whole engine without a thing."""
        meter = self._engine if thing is None else self._meters.get(thing)
        return meter.rates() if meter else Rates()

    def series(self, things: Sequence[Named], points: int) -> list[Series]:
        """How some things went, each with at most `points`: fewer where that many would fill an answer."""
        each = max(1, min(points, POINTS_AN_ANSWER // max(1, len(things))))
        return [
            meter.series(service, server, each, STEP_S, self._until_at)
            for service, server, thing in things
            if (meter := self._engine if thing is None else self._meters.get(thing))
        ]
