"""Durations are read as operators write them and written as they would."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.durations import format_duration, parse_duration
from engine.config.schema import Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("30m", 1800), ("1h30m", 5400), ("7d", 604800), ("1.5s", 1.5), ("0s", 0)],
)
def test_a_spelled_duration_is_that_many_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1800, "30m"), (5400, "1h30m"), (604800, "7d"), (0.25, "250ms"), (90, "1m30s"), (0, "0s")],
)
def test_a_duration_is_written_in_its_largest_units(seconds: float, text: str) -> None:
    assert format_duration(Duration(seconds)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", '"30" has no unit: write "30s" for seconds or "30m" for minutes'),
        ("", '"" is not a duration: write for example "250ms", "5s", "1h30m" or "7d"'),
        ("5 s", '"5 s" is not a duration: write for example "250ms", "5s", "1h30m" or "7d"'),
        ("-5s", '"-5s" is not a duration: write for example "250ms", "5s", "1h30m" or "7d"'),
        ("30m1h", '"30m1h" is not a duration: write for example "250ms", "5s", "1h30m" or "7d"'),
        ("0.5ms", '"0.5ms" is finer than a millisecond: write a whole number of "ms"'),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="write") as refused:
        parse_duration(text)
    assert str(refused.value) == message


@given(st.integers(0, 10**12))
def test_every_duration_is_read_back_to_the_millisecond(span_ms: int) -> None:
    duration = Duration(span_ms / 1000)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=20) | st.from_regex(r"[0-9dhms.]{0,20}", fullmatch=True))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_duration(text) >= 0
