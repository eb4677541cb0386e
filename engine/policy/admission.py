"""Whether new IKE SAs are let in, and when a service asks for cookies: who is flooded, and when a flood is over."""

from __future__ import annotations

from enum import Enum, auto
from math import exp
from typing import Final

import msgspec

QUIET_S: Final = 60.0
"""A flood is over when it was quiet for so long: floods come in waves."""


class Flood(msgspec.Struct, frozen=True, gc=False):
    """More IKE SAs are begun than get on."""

    begun_s: float
    loud_s: float
    """When there was last more than half of what lets a flood begin."""


class Verdict(Enum):
    """What becomes of a message that begins an IKE SA."""

    ADMIT = auto()
    CHALLENGE = auto()
    SERVICE_LIMIT = auto()
    """The service has as many half-open sessions as it may."""
    SOURCE_LIMIT = auto()
    """So has the client's address."""


# To look up an enumeration's member by name costs as much as all else on a line that uses it.
_ADMIT = Verdict.ADMIT


def judge(
    *,
    challenging: bool,
    proven: bool,
    half_open: int,
    half_open_limit: int,
    half_open_of_source: int,
    half_open_per_source: int,
) -> Verdict:
    """Whether an IKE SA may begin, with so many half-open ones of its service and its source; a limit of 0 is none.

    `proven`: it carries a cookie that was sent to its address. Proof comes first: else whoever forges a client's
    address could use up what that address may have.
    """
    if challenging and not proven:
        return Verdict.CHALLENGE
    if half_open_per_source and half_open_of_source >= half_open_per_source:
        return Verdict.SOURCE_LIMIT
    if half_open_limit and half_open >= half_open_limit:
        return Verdict.SERVICE_LIMIT
    return _ADMIT


def linger(lingering: float, unanswered: int, since_s: float, half_open_s: float, threshold: int) -> float:
    """How many half-open sessions the challenges that nobody answered have spared the service.

    `unanswered` came in the last `since_s`, less than none if more cookies came back than are known to be sent. Each
    counts for `half_open_s`, as long as its session would have lasted. No more are counted than make a flood twice:
    what is beyond that would only delay the flood's end.
    """
    most = 2.0 * threshold
    return min(max(-most, lingering * exp(-since_s / half_open_s) + unanswered), most)


def watch(flood: Flood | None, half_open: float, threshold: int, now_s: float) -> Flood | None:
    """The flood that is on: it begins with more half-open sessions than the threshold, and ends after quiet below half.

    `half_open` counts the spared ones too (`linger`): a flood that is warded off leaves none and would seem over.
    """
    if half_open > threshold or (flood is not None and half_open > threshold / 2):
        return Flood(now_s if flood is None else flood.begun_s, now_s)
    if flood is not None and now_s - flood.loud_s >= QUIET_S:
        return None
    return flood
