"""How a number went, as blocks of rising height."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

_ZERO = "▁"
_HEIGHTS = "▂▃▄▅▆▇"
"""Without the full block, so that lines under each other stay apart."""


def sparkline(values: Sequence[float], cells: int, span: int) -> str:
    """`values` with the newest at the right, where `cells` cells stand for `span` values; each cell shows a mean.

    The highest cell is full, zero lies at the bottom, and cells from before the first value are blank.
    """
    means = cell_means(values, cells, span)
    top = max((mean for mean in means if mean is not None), default=0.0)
    return "".join(_block(mean, top) for mean in means)


def cell_means(values: Sequence[float], cells: int, span: int) -> list[float | None]:
    """Means of the last `span` values for each of `cells` cells, the newest last; None before the first value."""
    span = max(span, cells)
    means = []
    for cell in range(cells):
        end = len(values) - span * (cells - 1 - cell) // cells
        part = values[max(0, len(values) - span * (cells - cell) // cells) : max(0, end)]
        means.append(sum(part) / len(part) if part else None)
    return means


def _block(value: float | None, top: float) -> str:
    if value is None:
        return " "
    if value <= 0:
        return _ZERO
    return _HEIGHTS[max(1, ceil(value / top * len(_HEIGHTS))) - 1]
