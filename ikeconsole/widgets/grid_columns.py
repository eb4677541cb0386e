"""The columns of a grid, and how they share its width: fixed, so that numbers never jitter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.text import Text

T = TypeVar("T")

ROOMY_WIDTH = 110
"""From here on columns stand two cells apart instead of one."""


@dataclass(frozen=True, slots=True)
class GridColumn(Generic[T]):
    """One column of rows `T`."""

    title: str
    width: int
    """Cells it always has."""
    cell: Callable[[T], str | Text]
    right: bool = False
    """Numbers: aligned at their units."""
    grow: int = 0
    """Its part of the width that nobody needs."""
    from_width: int = 0
    """The narrowest grid that shows it."""
    sort: str = ""
    """What the engine sorts by for it; empty: it cannot be sorted by."""
    mark: bool = False
    """Whether a value that changed is marked until the next refresh."""


def fit(columns: Sequence[GridColumn[T]], width: int) -> tuple[list[tuple[GridColumn[T], int]], int]:
    """The columns shown in `width` cells with their widths, and the gap between them."""
    shown = [column for column in columns if column.from_width <= width]
    gap = 2 if width >= ROOMY_WIDTH else 1
    spare = max(0, width - sum(column.width for column in shown) - gap * (len(shown) - 1))
    parts = sum(column.grow for column in shown)
    widths = []
    for column in shown:
        extra = spare * column.grow // parts if parts else 0
        widths.append((column, column.width + extra))
    return widths, gap
