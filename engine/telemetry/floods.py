"""What is told of a flood of new IKE SAs: whom it hurts, where it comes from, what wards it off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.config.schema import CookieChallenge
from engine.sessions.newcomers import Newcomers
from engine.sessions.service import Service
from engine.telemetry.alarms import Finding
from engine.wording import count, grouped

FORGED_PER_S: Final = 1.0
"""Challenges a second that nobody answers, from which on addresses are taken to be forged: a few just get lost."""


def flood_finding(service: Service) -> Iterator[Finding]:
    """The flood that is on at a service, if there is one."""
    newcomers, config = service.newcomers, service.config
    if newcomers.flood is None:
        return
    source = _one_source(newcomers)
    if config.cookie_challenge is CookieChallenge.OFF:
        hurt = "real servers that are busy with it turn new clients away"
        remedy = f'set cookie_challenge = "auto" for {service.name}, so that forged addresses get nowhere'
    else:
        hurt = "new clients are asked for a cookie first and get in, tunnels are left in peace"
        if newcomers.unanswered_per_s >= FORGED_PER_S:
            remedy = "nothing is to be done here; if it fills your line, have your provider filter it"
        elif source:
            remedy = f"see who {source} is: a lower half_open_per_source keeps it in bounds"
        else:
            remedy = "see that the real servers answer; if many clients just come back at once, raise cookie_threshold"
    yield Finding("flood", f"{service.name}: {_what(newcomers, source)}; {hurt}", remedy, service.name)


def _what(newcomers: Newcomers, source: str) -> str:
    begun = f"a flood of new IKE SAs, {grouped(newcomers.half_open)} are half-open"
    if source:
        begun += f", most of them from {source}"
    if newcomers.unanswered_per_s < FORGED_PER_S:
        return begun
    return f"{begun}, and {count(round(newcomers.unanswered_per_s), 'message')} a second have forged senders"


def _one_source(newcomers: Newcomers) -> str:
    """The source of more than half of all, if there is one."""
    source, most = newcomers.busiest_source()
    return source if 2 * most > newcomers.half_open else ""
