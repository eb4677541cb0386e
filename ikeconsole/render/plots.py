"""How numbers went over time, as a filled area and a line above axes; readable without colours."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10

from rich.text import Text

from ikeconsole.render.numbers import rate
from ikeconsole.render.sparks import cell_means
from ikeconsole.render.states import TERMINAL, StateStyles

AXIS_CELLS = 6
"""What the labels at the left and the axis take."""
AREA_MARK, LINE_MARK = "█", "⠉"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_NOTHING = "⠀"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The dots of a braille cell, column by column from the top (Unicode block 2800)."""
_ROUND = (2, 4, 6, 8, 10)
"""Ends of a scale whose half is round too."""


def plot(
    area: Sequence[float],
    line: Sequence[float],
    *,
    span: int,
    span_words: str,
    width: int,
    height: int,
    styles: StateStyles = TERMINAL,
) -> list[Text]:
    """`height` lines: an area, a line over it (or no values for none), and the axes, scaled from 0.

    The newest values stand at the right; the whole width stands for `span` values, named `span_words`. What lies
    before the first value is blank.
    """
    cells, rows = max(1, width - AXIS_CELLS), max(1, height - 1)
    areas, points = cell_means(area, cells, span), cell_means(line, 2 * cells, span)
    top = _round_up(max((value for value in (*areas, *points) if value is not None), default=0.0))
    drawn = [_area_row(areas, top, rows, row) for row in range(rows)]
    dots = _braille(points, top, rows, cells)
    labels = {0: rate(top), (rows - 1) // 2: rate(top / 2) if rows > 2 and rows % 2 else ""}
    lines = []
    for row in range(rows):
        text = Text(f"{labels.get(row, ''):>{AXIS_CELLS - 2}} ", styles.quiet)
        text.append("┤" if labels.get(row) else "│", styles.quiet)
        for block, dot in zip(drawn[row], dots[row], strict=True):
            text.append(*((block, styles.spark_out if line else styles.spark_in) if not dot else (dot, styles.spark_in)))
        lines.append(text)
    return [*lines, Text(_time_axis(span_words, cells), styles.quiet)]


def _round_up(value: float) -> float:
    """The next round number, 2 at least."""
    unit = 10.0 ** max(0, int(log10(value))) if value > 0 else 1.0
    return next(step * unit for step in _ROUND if step * unit >= value)


def _area_row(means: Sequence[float | None], top: float, rows: int, row: int) -> str:
    below = 8 * (rows - 1 - row)
    return "".join(_BLOCKS[max(0, min(8, _eighths(mean, top, rows) - below))] for mean in means)


def _eighths(mean: float | None, top: float, rows: int) -> int:
    """How high it stands: zero is drawn too, unlike what is not known, and lower than anything above zero."""
    if mean is None:
        return 0
    return 1 if mean <= 0 else max(2, ceil(mean / top * 8 * rows))


def _braille(points: Sequence[float | None], top: float, rows: int, cells: int) -> list[list[str]]:
    """For every row and cell the dots of the line there, empty where it does not pass."""
    masks = [[0] * cells for _ in range(rows)]
    before: int | None = None
    for place, value in enumerate(points):
        if value is None:
            before = None
            continue
        now = round((1 - value / top) * (4 * rows - 1))
        first, last = (now, now) if before is None else sorted((now, before + (now > before) - (now < before)))
        for dot in range(min(first, last), max(first, last) + 1):
            masks[dot // 4][place // 2] |= _DOTS[place % 2][dot % 4]
        before = now
    return [[chr(ord(_NOTHING) + mask) if mask else "" for mask in line] for line in masks]


def _time_axis(span_words: str, cells: int) -> str:
    ends = span_words.ljust(max(0, cells - len("now"))) + "now"
    return f"{0:>{AXIS_CELLS - 2}} └{ends}"
