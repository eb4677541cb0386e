"""Slow start: how a server that came up is eased into its share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.policy.candidate import Snapshot
from engine.policy.slowstart import FIRST_PART, effective_weight


@pytest.mark.parametrize(("up_for_s", "expected"), [(-1, 10), (0, 10), (15, 32.5), (30, 55), (60, 100), (3600, 100)])
def test_the_weight_rises_in_a_straight_line_from_a_tenth(up_for_s: float, expected: float) -> None:
    """Weight 100 over 60 s; a clock that stepped back counts as just up."""
    assert effective_weight(100, up_for_s, 60) == pytest.approx(expected)


def test_without_slow_start_the_weight_counts_at_once() -> None:
    """0 switches the ramp off, also in the instant the server comes up."""
    assert effective_weight(100, 0, 0) == 100


@given(weight=st.integers(0, 10**6), up_for_s=st.floats(0, 1e6), slow_start_s=st.floats(0, 1e5))
def test_the_ramp_neither_starves_a_server_nor_wakes_one_of_weight_0(
    weight: int, up_for_s: float, slow_start_s: float
) -> None:
    """Between a tenth and the weight, and 0 only for 0."""
    ramped = effective_weight(weight, up_for_s, slow_start_s)
    assert weight / 10 * 0.999999 <= ramped <= weight * 1.000001
    assert (ramped > 0) == (weight > 0)


def test_a_candidate_tells_which_part_of_its_weight_counts() -> None:
    def eased(weight: int, up_for_s: float) -> float:
        effective = effective_weight(weight, up_for_s, 100)
        return Snapshot(name="a", weight=weight, effective_weight=effective, load=0, rtt_s=None, agent_load=None).eased

    assert eased(50, 0) == pytest.approx(FIRST_PART)
    assert eased(50, 50) == pytest.approx((1 + FIRST_PART) / 2)
    assert eased(50, 100) == 1
    assert eased(0, 0) == 1
