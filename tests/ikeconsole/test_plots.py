"""Plots: what their height, gaps and labels say."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ikeconsole.render.plots import AXIS_CELLS, plot

NUMBERS = st.lists(st.floats(0, 1e12) | st.just(0.0), max_size=40)


def drawn(area: list[float], line: Sequence[float] = (), *, cells: int = 4, rows: int = 3, span: int = 4) -> list[str]:
    """The lines without colours."""
    width, height = cells + AXIS_CELLS, rows + 1
    lines = plot(area, line, span=span, span_words="60m", least_top=2.0, width=width, height=height)
    return [text.plain for text in lines]


def test_it_is_scaled_from_zero_to_a_round_number_and_labelled() -> None:
    assert drawn([0, 100, 300, 550], cells=8, span=8) == [
        " 600 ┤       ▆",
        " 300 ┤      ▄█",
        "     │    ▁▄██",
        "   0 └60m  now",
    ]


def test_a_scale_does_not_end_lower_than_was_asked() -> None:
    low = plot([0.1], [], span=1, span_words="60m", least_top=0.2, width=12, height=4)
    assert [text.plain[:AXIS_CELLS] for text in low] == [" 0.2 ┤", " 0.1 ┤", "     │", "   0 └"]
    assert drawn([0.1], rows=1)[0].startswith("   2 ┤")


def test_before_the_first_value_it_is_blank_and_zero_is_not() -> None:
    assert drawn([0, 0], rows=1)[0] == "   2 ┤  ▁▁"


def test_what_is_above_zero_never_looks_like_zero() -> None:
    assert drawn([0, 0.001, 2, 2], rows=1)[0] == "   2 ┤▁▂██"


def test_the_newest_values_stand_at_the_right_and_older_ones_than_the_span_are_left_out() -> None:
    assert drawn([9, 9, 0, 0, 0, 2], rows=1)[0] == "   2 ┤▁▁▁█"


def test_a_line_is_seen_within_the_area_and_above_it() -> None:
    top, middle, bottom, _ = drawn([4, 4, 0, 0], [1, 1, 4, 4], cells=2, rows=3)
    assert top == "   4 ┤█⡏"
    assert middle[AXIS_CELLS] == "░"
    assert "⠀" < bottom[AXIS_CELLS] <= "⣿"


def test_a_steep_line_has_no_holes() -> None:
    rows = drawn([], [0, 0, 4, 4], cells=2, rows=5)
    assert all(any("⠀" < character <= "⣿" for character in row[AXIS_CELLS:]) for row in rows[:5])


@given(NUMBERS, NUMBERS, st.integers(1, 90), st.integers(2, 20), st.integers(1, 60))
def test_every_line_is_as_wide_as_was_asked(
    area: list[float], line: list[float], width: int, height: int, span: int
) -> None:
    lines = plot(area, line, span=span, span_words="60m", least_top=2.0, width=width + AXIS_CELLS + 6, height=height)
    assert len(lines) == height
    assert {text.cell_len for text in lines} == {width + AXIS_CELLS + 6}
