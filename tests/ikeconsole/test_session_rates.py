"""Rates come from two looks that are far enough apart, on the engine's clock."""

from __future__ import annotations

import msgspec
from many_sessions import session

from engine.control.records import SessionRow
from engine.control.status import Traffic
from ikeconsole.session_rates import SessionRate, SessionRates

ROW = session(7)


def at(age_s: float, bytes_in: int) -> list[SessionRow]:
    return [msgspec.structs.replace(ROW, age_s=age_s, traffic=Traffic(bytes_in=bytes_in))]


def test_the_difference_of_two_looks_divided_by_the_time_between_them() -> None:
    rates = SessionRates()
    rates.observe(at(10.0, 1000))
    assert rates.of(7) is None
    rates.observe(at(12.0, 5000))
    assert rates.of(7) == SessionRate(2000.0, 0.0)


def test_looks_close_together_keep_the_rate_and_the_next_one_counts_from_the_first() -> None:
    rates = SessionRates()
    rates.observe(at(10.0, 0))
    rates.observe(at(11.0, 1000))
    rates.observe(at(11.1, 9000))
    assert rates.of(7) == SessionRate(1000.0, 0.0)
    rates.observe(at(12.0, 10_000))
    assert rates.of(7) == SessionRate(9000.0, 0.0)


def test_counters_that_went_back_are_no_negative_rate_and_what_left_the_window_is_forgotten() -> None:
    rates = SessionRates()
    rates.observe(at(10.0, 5000))
    rates.observe(at(11.0, 0))
    assert rates.of(7) == SessionRate(0.0, 0.0)
    rates.observe([])
    rates.observe(at(13.0, 0))
    assert rates.of(7) is None
