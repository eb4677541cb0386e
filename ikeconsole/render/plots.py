"""How numbers went over time, as a filled area and a line above axes; readable without colours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil, floor, log10

from rich.text import Text

from ikeconsole.render.numbers import si
from ikeconsole.render.sparks import cell_means
from ikeconsole.render.states import TERMINAL, StateStyles

AXIS_CELLS = 6
"""What the labels at the left and the axis take."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SHADE = "░"
"""What an area is filled with under its edge where a line must be seen in it."""
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
    least_top: float,
    width: int,
    height: int,
    styles: StateStyles = TERMINAL,
) -> list[Text]:
    """`height` lines: an area, a line over it (or no values for none), and the axes, scaled from 0.

    The newest values stand at the right; the whole width stands for `span` values, named `span_words`. What lies
    before the first value is blank. The scale ends at `least_top` or, where values are higher, at a round number.
    """
    cells, rows = max(1, width - AXIS_CELLS), max(1, height - 1)
    areas, points = cell_means(area, cells, span), cell_means(line, 2 * cells, span)
    top = _round_up(max(value for value in (least_top, *areas, *points) if value is not None))
    blocks = [_area_row(areas, top, rows, row, _SHADE if line else _BLOCKS[-1]) for row in range(rows)]
    dots = _braille(points, top, rows, cells)
    labels = {0: _label(top)} | ({rows // 2: _label(top / 2)} if rows % 2 and rows > 2 else {})
    area_style = styles.spark_out if line else styles.spark_in
    lines = []
    for row in range(rows):
        text = Text(f"{labels.get(row, ''):>{AXIS_CELLS - 2}} {'┤' if row in labels else '│'}", styles.quiet)
        # Run by run: a text of as many styles as cells is slow to draw.
        for dotted, run in groupby(zip(blocks[row], dots[row], strict=True), lambda cell: bool(cell[1])):
            text.append("".join(dot or block for block, dot in run), styles.spark_in if dotted else area_style)
        lines.append(text)
    return [*lines, Text(_time_axis(span_words, cells), styles.quiet)]


def _round_up(value: float) -> float:
    """The next round number."""
    unit = 10.0 ** floor(log10(value))
    return next(step * unit for step in _ROUND if step * unit >= value)


def _label(value: float) -> str:
    return si(value) if value >= 1 else f"{value:.1f}"


def _area_row(means: Sequence[float | None], top: float, rows: int, row: int, fill: str) -> str:
    below = 8 * (rows - 1 - row)
    heights = (_eighths(mean, top, rows) - below for mean in means)
    return "".join(_BLOCKS[max(0, height)] if height <= 8 else fill for height in heights)


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
