"""Admission: floods begin at once, end after quiet, and never flicker; limits bind, and proof comes first."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.policy.admission import QUIET_S, Flood, Verdict, judge, linger, watch

THRESHOLD = 1000
HALF_OPEN_S = 30.0
counts = st.integers(0, 5_000)


def verdict(
    *, challenging: bool = False, proven: bool = False, half_open: int = 0, limit: int = 0, mine: int = 0, each: int = 0
) -> Verdict:
    return judge(
        challenging=challenging,
        proven=proven,
        half_open=half_open,
        half_open_limit=limit,
        half_open_of_source=mine,
        half_open_per_source=each,
    )


def test_whoever_is_asked_and_has_no_cookie_is_challenged_before_any_limit() -> None:
    """Forged messages do not use up what an address may have: they never get that far."""
    assert verdict(challenging=True, mine=5, each=5, half_open=9, limit=9) is Verdict.CHALLENGE
    assert verdict(challenging=True, proven=True) is Verdict.ADMIT
    assert verdict() is Verdict.ADMIT


def test_limits_bind_from_the_last_one_on() -> None:
    """A limit of five lets the fifth in and not the sixth; zero is no limit."""
    assert verdict(mine=4, each=5) is Verdict.ADMIT
    assert verdict(mine=5, each=5) is Verdict.SOURCE_LIMIT
    assert verdict(mine=10**6) is Verdict.ADMIT
    assert verdict(half_open=4, limit=5) is Verdict.ADMIT
    assert verdict(half_open=5, limit=5) is Verdict.SERVICE_LIMIT
    assert verdict(half_open=10**6) is Verdict.ADMIT


@given(st.booleans(), st.booleans(), counts, counts, counts, counts)
def test_nobody_gets_in_beyond_a_limit_or_without_the_proof_that_is_asked_for(
    challenging: bool, proven: bool, half_open: int, limit: int, mine: int, each: int
) -> None:
    """Whatever the numbers."""
    what = verdict(challenging=challenging, proven=proven, half_open=half_open, limit=limit, mine=mine, each=each)
    if what is Verdict.ADMIT:
        assert proven or not challenging
        assert not limit or half_open < limit
        assert not each or mine < each
    if what is Verdict.CHALLENGE:
        assert challenging
        assert not proven


def test_a_flood_begins_above_the_threshold_and_ends_after_a_quiet_minute() -> None:
    """At the threshold itself there is none; between half of it and all of it one goes on."""
    assert watch(None, THRESHOLD, THRESHOLD, 5) is None
    flood = watch(None, THRESHOLD + 1, THRESHOLD, 5)
    assert flood == Flood(5, 5)
    flood = watch(flood, THRESHOLD / 2 + 1, THRESHOLD, 200)
    assert flood == Flood(5, 200)
    assert watch(flood, THRESHOLD / 2, THRESHOLD, 200 + QUIET_S - 1) == flood
    assert watch(flood, THRESHOLD / 2, THRESHOLD, 200 + QUIET_S) is None


@given(st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 3 * THRESHOLD)), max_size=60))
def test_a_flood_never_flickers(steps: list[tuple[float, float]]) -> None:
    """Each lasts a quiet time at least, begins for cause, and ends only when all of that time was quiet."""
    flood, now_s, loud_s = None, 0.0, -1e9
    for after_s, half_open in steps:
        now_s += after_s
        before, flood = flood, watch(flood, half_open, THRESHOLD, now_s)
        if half_open > THRESHOLD / 2:
            loud_s = now_s
        if before is None and flood is not None:
            assert half_open > THRESHOLD
        if before is not None and flood is None:
            assert now_s - before.begun_s >= QUIET_S
            assert now_s - loud_s >= QUIET_S
        if half_open > THRESHOLD:
            assert flood is not None


def linger_on(per_tick: list[int], lingering: float = 0.0) -> float:
    for unanswered in per_tick:
        lingering = linger(lingering, unanswered, 1.0, HALF_OPEN_S, THRESHOLD)
    return lingering


def test_what_lingers_is_what_sessions_would_be_half_open() -> None:
    """Twenty forged messages a second, each half-open for 30 s: six hundred sessions, give or take the rounding."""
    assert linger_on([20] * 600) == pytest.approx(20 * HALF_OPEN_S, rel=0.02)


def test_answers_take_back_what_was_counted_whichever_is_heard_of_first() -> None:
    """A site that comes back at once and answers every challenge leaves nothing; the kernel tells late what it sent."""
    assert abs(linger_on([500, -500])) < 20
    assert abs(linger_on([-500, 500])) < 20


def test_the_biggest_flood_is_forgotten_as_fast_as_a_middling_one() -> None:
    """It falls from twice the threshold to half of it, and below, within two times of a half-open session."""
    assert linger_on([10**7]) == 2 * THRESHOLD
    assert linger_on([0] * round(2 * HALF_OPEN_S), 2 * THRESHOLD) == pytest.approx(2 * THRESHOLD * exp(-2))
    assert 2 * THRESHOLD * exp(-2) < THRESHOLD / 2


def test_a_flood_that_is_warded_off_does_not_seem_over() -> None:
    """Its challenged messages leave no session, and yet it is on as long as they come; then it ends."""
    flood: Flood | None = Flood(0, 0)
    lingering = 0.0
    for now_s in range(1, 601):
        lingering = linger(lingering, 100, 1.0, HALF_OPEN_S, THRESHOLD)
        flood = watch(flood, lingering, THRESHOLD, now_s)
        assert flood is not None
    for now_s in range(601, 721):
        lingering = linger(lingering, 0, 1.0, HALF_OPEN_S, THRESHOLD)
        flood = watch(flood, lingering, THRESHOLD, now_s)
    assert flood is None
