"""Numbers keep to their width, their order and their value, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikeconsole.render import numbers

_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def value(text: str) -> float:
    return float(text[:-1]) * _FACTORS[text[-1]] if text[-1] in _FACTORS else float(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (1204, "1.2k"), (9949, "9.9k"), (9950, "10k"), (412_000_000, "412M"),
     (999_499, "999k"), (999_500, "1.0M"), (1_100_000_000, "1.1G"), (10**22, ">1E")],
)  # fmt: skip
def test_si(number: int, text: str) -> None:
    assert numbers.si(number) == text


@given(st.integers(0, 2**64))
def test_si_is_narrow_and_right_within_five_percent(number: int) -> None:
    text = numbers.si(number)
    assert len(text) <= 4
    assert value(text) == pytest.approx(number, rel=0.051)


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_si_keeps_the_order(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert value(numbers.si(small)) <= value(numbers.si(large))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m00s"), (134, "2m14s"), (600, "10m"), (2460, "41m"),
     (8054, "2h14m"), (86399, "23h59m"), (273_600, "3d4h"), (1_040_000, "12d")],
)  # fmt: skip
def test_age(seconds: float, text: str) -> None:
    assert numbers.age(seconds) == text


@given(st.floats(-1e12, 1e12))
def test_age_is_never_wider_than_six(seconds: float) -> None:
    assert len(numbers.age(seconds)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.00004, "0.0ms"), (0.0032, "3.2ms"), (0.0174, "17ms"), (0.9994, "999ms"), (1.24, "1.2s")],
)
def test_round_trip(seconds: float | None, text: str) -> None:
    assert numbers.round_trip(seconds) == text


def test_what_has_no_bound_has_no_percentage() -> None:
    assert numbers.percent(5, 0) == "-"
    assert numbers.percent(1292, 200_000) == "0.6 %"
    assert numbers.percent(74, 200) == "37 %"


def test_counts_in_sentences_are_grouped() -> None:
    assert numbers.grouped(1204567) == "1 204 567"
