"""Counts, names and spans read well in a sentence, whatever they are."""

from __future__ import annotations

import pytest

from engine.wording import count, listed, spelled_span, staying, verb


def test_one_is_no_plural() -> None:
    assert [count(number, "session") for number in (0, 1, 1204)] == ["0 sessions", "1 session", "1 204 sessions"]
    assert [verb(number, "end") for number in (0, 1, 2)] == ["end", "ends", "end"]
    assert [staying(number) for number in (1, 2)] == [
        "1 session stays until it ends",
        "2 sessions stay until they end",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("", ""),
        ("a", "a"),
        ("ab", "a and b"),
        ("abc", "a, b and c"),
        ("abcd", "a, b, c and 1 other"),
        ("abcde", "a, b, c and 2 others"),
    ],
)
def test_many_names_are_cut_short(names: str, said: str) -> None:
    assert listed(list(names)) == said


@pytest.mark.parametrize(
    ("span_s", "said"),
    [
        (-1, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 m"),
        (3570, "1 h"),
        (11_400, "3 h 10 m"),
        (86_399, "1 d"),
        (180_000, "2 d 2 h"),
    ],
)
def test_a_span_has_two_units_at_most_and_rounds_up_into_the_next(span_s: float, said: str) -> None:
    assert spelled_span(span_s) == said


def test_of_very_many_names_the_first_are_enough() -> None:
    assert listed(["a", "b", "c"], of=100_000) == "a, b, c and 99 997 others"
    assert listed(["a", "b"], of=2) == "a and b"
