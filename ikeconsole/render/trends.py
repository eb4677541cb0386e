"""What is watched of one service or real server: its numbers now and lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.control.status import Series, ServerStatus, ServiceStatus
from ikeconsole.render.numbers import grouped, rate, si

_MOST_SPELLED = 99_999


@dataclass(frozen=True, slots=True)
class Trend:
    """One number of a thing."""

    label: str
    now: float
    lately: Sequence[float]
    """The newest last; none: nothing is known yet."""
    write: Callable[[float], str]
    """Writes a value, in at most six cells."""
    out: bool = False
    """Whether it is about what goes to the clients."""


def trends(thing: ServiceStatus | ServerStatus, series: Series | None) -> Iterator[Trend]:
    """Sessions, and what happens per second."""
    now = thing.rates
    lately = series or _NOTHING
    packets = [sum(ways) for ways in zip(lately.packets_in, lately.packets_out, strict=True)]
    yield Trend("sessions", thing.sessions, lately.sessions, _count)
    yield Trend("new/s", now.new_sessions, lately.new_sessions, rate)
    yield Trend("in b/s", 8 * now.bytes_in, [8 * one for one in lately.bytes_in], si)
    yield Trend("out b/s", 8 * now.bytes_out, [8 * one for one in lately.bytes_out], si, out=True)
    yield Trend("packets/s", now.packets_in + now.packets_out, packets, si)


def _count(number: float) -> str:
    return grouped(round(number)) if number <= _MOST_SPELLED else si(number)


_NOTHING = Series(
    service="",
    server="",
    step_s=1.0,
    until_at=0.0,
    sessions=[],
    new_sessions=[],
    packets_in=[],
    bytes_in=[],
    packets_out=[],
    bytes_out=[],
)
