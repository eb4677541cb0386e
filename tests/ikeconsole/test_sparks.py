"""Small drawings in a cell of a table: how a number went, and how sessions are shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikeconsole.render.shares import share_bar
from ikeconsole.render.sparks import sparkline
from ikeconsole.render.states import StateStyles


@pytest.mark.parametrize(
    ("values", "cells", "span", "line"),
    [
        ([1, 2, 3, 4, 5, 6], 6, 6, "▂▃▄▅▆▇"),
        ([0, 600], 4, 4, "  ▁▇"),
        ([0, 0, 0, 0], 4, 4, "▁▁▁▁"),
        ([], 4, 4, "    "),
        ([0, 12, 6, 6], 2, 4, "▇▇"),
        ([2, 1, 1], 2, 4, "▇▄"),
        ([9, 9, 9, 0, 0], 2, 4, "▇▁"),
        ([3], 4, 1, "   ▇"),
    ],
    ids=["rising", "young", "silent", "unknown", "means", "partly-young", "only-the-newest", "too-few-for-the-cells"],
)
def test_a_sparkline(values: list[float], cells: int, span: int, line: str) -> None:
    assert sparkline(values, cells, span) == line


@given(st.lists(st.floats(0, 1e15), max_size=100), st.integers(1, 40), st.integers(1, 120))
def test_a_sparkline_always_fills_its_cells(values: list[float], cells: int, span: int) -> None:
    assert len(sparkline(values, cells, span)) == cells


@pytest.mark.parametrize(
    ("share", "weighted", "bar"),
    [
        (0.0, 0.5, "     |    "),
        (0.35, 0.35, "███|      "),
        (0.8, 0.3, "███|████  "),
        (1.0, 1.0, "█████████|"),
        (0.0, 0.0, "          "),
        (0.44, 0.0, "████▍     "),
    ],
)
def test_the_tick_of_a_share_bar_stands_at_the_weighted_share(share: float, weighted: float, bar: str) -> None:
    assert share_bar(share, weighted, 10).plain == bar


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 30))
def test_a_share_bar_always_fills_its_cells(share: float, weighted: float, cells: int) -> None:
    assert share_bar(share, weighted, cells).cell_len == cells


def test_only_what_lies_past_the_tick_has_the_colour_of_too_much() -> None:
    bar = share_bar(0.8, 0.3, 10, StateStyles(bar="blue", bar_over="red"))
    assert {bar.plain[span.start : span.end]: span.style for span in bar.spans}["████  "] == "red"
    assert {bar.plain[span.start : span.end]: span.style for span in bar.spans}["███"] == "blue"
