"""Tables whose columns fit the terminal: the less important ones appear only where there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.legible import printable as printable

R = TypeVar("R")

_GAP = 2
_NARROWEST = 8
"""What a flexible column keeps however little room there is."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column of a table of records `R`."""

    title: str
    cell: Callable[[R], str | Text]
    right: bool = False
    """Numbers: aligned at their units."""
    flexible: bool = False
    """May be cut to fit, with an ellipsis."""
    from_width: int = 0
    """The narrowest terminal that shows it."""
    least: int = 0
    """Width it has even where nothing needs it, so that it does not jitter."""


def middle_cut(text: str, cells: int) -> str:
    """Text of at most so many characters whose two ends stay: the port of an address, the number of a server."""
    if len(text) <= cells:
        return text
    left = (cells - 1) // 2
    return f"{text[:left]}…{text[left + 1 - cells :]}"


def table(columns: Sequence[Column[R]], rows: Sequence[R], width: int) -> Table:
    """A table of the records, no wider than `width` unless its fixed columns already are."""
    shown = [column for column in columns if column.from_width <= width]
    cells = [[_text(column.cell(row)) for column in shown] for row in rows]
    widths = [
        max(column.least, len(column.title), *(line[index].cell_len for line in cells), 0)
        for index, column in enumerate(shown)
    ]
    gap = _GAP if sum(widths) + _GAP * (len(widths) - 1) <= width else 1
    _shrink(shown, widths, width - gap * (len(widths) - 1))
    drawn = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for column, column_width in zip(shown, widths, strict=True):
        drawn.add_column(
            column.title,
            width=column_width,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for line in cells:
        drawn.add_row(*line)
    return drawn


def stacked(*parts: RenderableType | None) -> Group:
    """Parts of a page under each other; absent ones take no line."""
    return Group(*(part for part in parts if part is not None))


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


def _shrink(columns: Sequence[Column[R]], widths: list[int], room: int) -> None:
    """Take what is too much from the flexible columns, the last one first: the first ones name the row."""
    for index in reversed(range(len(columns))):
        if columns[index].flexible:
            surplus = sum(widths) - room
            widths[index] -= max(0, min(surplus, widths[index] - _NARROWEST))
