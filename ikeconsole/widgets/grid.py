"""A table that draws only the lines in sight, and asks for rows it does not have."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ikeconsole.actions import bindings
from ikeconsole.render.columns import printable
from ikeconsole.widgets.grid_columns import GridColumn, fit

T = TypeVar("T")

_HEADER_LINES = 1
_ASCENDING, _DESCENDING = "▲", "▼"


class FromGrid(Message):
    """Something happened in a grid."""

    def __init__(self, grid: Grid[Any]) -> None:
        super().__init__()
        self.grid = grid

    @property
    def control(self) -> Grid[Any]:
        """The grid."""
        return self.grid


class Grid(ScrollView, Generic[T], can_focus=True):
    """Rows `T` under a header, with a cursor that stays on its row however the rows move.

    It holds a window of the rows: all of them for a short table, those around the lines in sight for a long one.
    """

    BINDINGS = bindings("grid")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--row",
        "grid--cursor",
        "grid--cursor-blurred",
        "grid--changed",
        "grid--stale",
    }

    class Wanted(FromGrid):
        """Lines came in sight whose rows are not held."""

    class Opened(FromGrid):
        """The operator opened the row under the cursor."""

    class CursorMoved(FromGrid):
        """Another row is under the cursor."""

    class SortAsked(FromGrid):
        """The operator clicked on the title of a column that can be sorted by."""

        def __init__(self, grid: Grid[Any], sort: str) -> None:
            super().__init__(grid)
            self.sort = sort

    def __init__(
        self,
        columns: Sequence[GridColumn[T]],
        key: Callable[[T], Hashable],
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.empty = empty
        """What stands there when there are no rows."""
        self.sorted_by = ""
        self.descending = False
        self._key = key
        self._total = 0
        self._offset = 0
        self._rows: Sequence[T] = ()
        self._cursor = 0
        self._cursor_key: Hashable | None = None
        self._stale = False
        self._seen: dict[Hashable, tuple[str, ...]] = {}
        self._changed: dict[Hashable, list[GridColumn[T]]] = {}
        self._drawn: dict[tuple[int, int], list[Text]] = {}
        """The cells of rows as they were drawn, by number and the grid's width."""

    @property
    def total(self) -> int:
        """How many rows there are, held or not."""
        return self._total

    @property
    def cursor(self) -> int:
        """The number of the row under the cursor, from 0."""
        return self._cursor

    @property
    def selected(self) -> T | None:
        """The row under the cursor, if it is held."""
        return self._row(self._cursor)

    @property
    def window(self) -> tuple[int, int]:
        """The first line in sight and how many there are."""
        return int(self.scroll_offset.y), max(1, self.size.height - _HEADER_LINES)

    def show(self, rows: Sequence[T], *, offset: int = 0, total: int | None = None) -> None:
        """Hold these rows from now on, the first of them being number `offset` of `total`."""
        before, cursor, rows_before = self.selected, self._cursor, self._total
        self._rows, self._offset = rows, offset
        self._total = offset + len(rows) if total is None else total
        self._follow()
        self.virtual_size = Size(self.size.width, self._total + _HEADER_LINES)
        self._mark_changes()
        if not rows or self._total != rows_before:
            self.refresh()
        else:
            self._refresh_changed()
            if cursor != self._cursor:
                self._refresh_rows(cursor, self._cursor)
        if self.selected is not None and (before is None or self._key(self.selected) != self._key(before)):
            self.post_message(self.CursorMoved(self))

    def show_sort(self, sort: str, descending: bool) -> None:
        """Say in the header what the rows are sorted by."""
        if (sort, descending) != (self.sorted_by, self.descending):
            self.sorted_by, self.descending = sort, descending
            self.refresh()

    def set_stale(self, stale: bool) -> None:
        """Grey everything out, or no longer: what is shown is old."""
        if stale != self._stale:
            self._stale = stale
            self.refresh()

    def select(self, number: int) -> None:
        """Put the cursor on a row and bring it in sight."""
        number = max(0, min(number, self._total - 1))
        before, self._cursor = self._cursor, number
        row = self._row(number)
        self._cursor_key = None if row is None else self._key(row)
        top, lines = self.window
        if number < top:
            self.scroll_to(y=number, animate=False, immediate=True)
        elif number >= top + lines:
            self.scroll_to(y=number - lines + 1, animate=False, immediate=True)
        if number != before:
            self._refresh_rows(before, number)
            self.post_message(self.CursorMoved(self))

    def start_over(self) -> None:
        """Let go of all rows and go to where the first one will be."""
        self._rows, self._offset, self._cursor, self._cursor_key = (), 0, 0, None
        self.scroll_to(y=0, animate=False, immediate=True)

    def select_key(self, key: Hashable) -> bool:
        """Put the cursor on the held row with this key; whether there is one."""
        for place, row in enumerate(self._rows):
            if self._key(row) == key:
                self.select(self._offset + place)
                return True
        return False

    def action_cursor_up(self) -> None:
        """One row up."""
        self.select(self._cursor - 1)

    def action_cursor_down(self) -> None:
        """One row down."""
        self.select(self._cursor + 1)

    def action_page_up(self) -> None:
        """One screenful up."""
        self.select(self._cursor - self.window[1])

    def action_page_down(self) -> None:
        """One screenful down."""
        self.select(self._cursor + self.window[1])

    def action_first(self) -> None:
        """To the first row."""
        self.select(0)

    def action_last(self) -> None:
        """To the last row."""
        self.select(self._total - 1)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.selected is not None:
            self.post_message(self.Opened(self))

    def on_click(self, event: events.Click) -> None:
        """Select the row that was clicked, or sort by the title; a second click opens the row."""
        if event.y == 0:
            if sort := self._sort_at(event.x):
                self.post_message(self.SortAsked(self, sort))
            return
        number = self.window[0] + event.y - _HEADER_LINES
        if number < self._total:
            self.select(number)
            if event.chain == 2:
                self.action_open()

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self.virtual_size = Size(self.size.width, self._total + _HEADER_LINES)
        self._want()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for the rows that came in sight."""
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()
        self._want()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Draw some lines again; without regions, everything from scratch."""
        if not regions:
            self._drawn.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        """Draw the header or a row."""
        if y < _HEADER_LINES:
            titles = [Text(column.title + self._arrow(column)) for column, _ in self._shown[0]]
            return self._strip(titles, self.get_component_rich_style("grid--header"))
        number = self.window[0] + y - _HEADER_LINES
        if number >= self._total:
            text = self.empty if self._total == 0 and y == _HEADER_LINES + 1 else ""
            style = self.get_component_rich_style("grid--row")
            return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)
        place = number, self.size.width
        if place not in self._drawn:
            self._drawn[place] = self._cells(number)
        return self._strip(self._drawn[place], self._row_style(number))

    @property
    def _shown(self) -> tuple[list[tuple[GridColumn[T], int]], int]:
        return fit(self.columns, self.size.width)

    def _arrow(self, column: GridColumn[T]) -> str:
        if not self.sorted_by or column.sort != self.sorted_by:
            return ""
        return _DESCENDING if self.descending else _ASCENDING

    def _cells(self, number: int) -> list[Text]:
        """What stands in the columns of a row."""
        row = self._row(number)
        if row is None:
            return [Text(" …")]
        cells = [_cell(column, row) for column, _ in self._shown[0]]
        if self._stale:
            return [Text(cell.plain) for cell in cells]
        if marks := self._changed.get(self._key(row)):
            style = self.get_component_rich_style("grid--changed", partial=True)
            for place, (column, _) in enumerate(self._shown[0]):
                if column in marks:
                    cells[place] = cells[place].copy()
                    cells[place].stylize(style)
        return cells

    def _refresh_changed(self) -> None:
        """Draw the rows in sight again that are not as they were drawn."""
        top, lines = self.window
        before, self._drawn = self._drawn, {}
        for number in range(top, min(top + lines, self._total)):
            place = number, self.size.width
            cells = self._drawn[place] = self._cells(number)
            if place not in before or not _same(cells, before[place]):
                self._refresh_rows(number)

    def _refresh_rows(self, *numbers: int) -> None:
        top, lines = self.window
        for number in numbers:
            if top <= number < top + lines:
                self.refresh(Region(0, number - top + _HEADER_LINES, self.size.width, 1))

    def _sort_at(self, x: int) -> str:
        shown, gap = fit(self.columns, self.size.width)
        for column, cells in shown:
            if x < cells + gap:
                return column.sort
            x -= cells + gap
        return ""

    def _row_style(self, number: int) -> Style:
        if number == self._cursor:
            return self.get_component_rich_style("grid--cursor" if self.has_focus else "grid--cursor-blurred")
        return self.get_component_rich_style("grid--stale" if self._stale else "grid--row")

    def _strip(self, cells: Sequence[Text], base: Style) -> Strip:
        """A line of cells, each in the width of its column."""
        console, (shown, gap) = self.app.console, self._shown
        segments: list[Segment] = []
        for cell, (column, width) in zip(cells, shown, strict=False):
            if segments:
                segments.append(Segment(" " * gap, base))
            if cell.spans:
                segments += Segment.apply_style(_aligned(cell, width, column.right).render(console, end=""), base)
            else:
                style = base + console.get_style(cell.style) if cell.style else base
                segments.append(Segment(_aligned_plain(cell.plain, width, column.right), style))
        # What looks alike is written as one: most of what goes to the terminal would be styles otherwise.
        return Strip(segments).adjust_cell_length(self.size.width, base).simplify()

    def _row(self, number: int) -> T | None:
        place = number - self._offset
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def _follow(self) -> None:
        """Keep the cursor on its row where that is held, else on its line."""
        if self._cursor_key is not None:
            for place, row in enumerate(self._rows):
                if self._key(row) == self._cursor_key:
                    moved = self._offset + place - self._cursor
                    self._cursor += moved
                    if moved:
                        self.select(self._cursor)
                    return
        self._cursor = max(0, min(self._cursor, self._total - 1))
        self._cursor_key = None if self.selected is None else self._key(self.selected)

    def _mark_changes(self) -> None:
        """Find the values in sight that differ from those shown before."""
        marked = [column for column in self.columns if column.mark]
        top, lines = self.window
        self._changed.clear()
        seen = {}
        for row in filter(None, map(self._row, range(top, top + lines))):
            key = self._key(row)
            values = tuple(_cell(column, row).plain for column in marked)
            before = self._seen.get(key, values)
            if values != before:
                both = zip(marked, values, before, strict=True)
                self._changed[key] = [column for column, value, old in both if value != old]
            seen[key] = values
        self._seen = seen

    def _want(self) -> None:
        top, lines = self.window
        last = min(top + lines, self._total)
        if top < self._offset or last > self._offset + len(self._rows):
            self.post_message(self.Wanted(self))


def _cell(column: GridColumn[T], row: T) -> Text:
    cell = column.cell(row)
    return cell if isinstance(cell, Text) else Text(printable(cell))


def _same(some: Sequence[Text], others: Sequence[Text]) -> bool:
    """Whether cells look the same; texts are equal to Rich whatever their own style."""
    return some == others and all(one.style == other.style for one, other in zip(some, others, strict=True))


def _aligned(cell: Text, width: int, right: bool) -> Text:
    text = cell.copy()
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    missing = width - text.cell_len
    if right:
        text.pad_left(missing)
    else:
        text.pad_right(missing)
    return text


def _aligned_plain(plain: str, width: int, right: bool) -> str:
    """The same for what has one style: most cells, and much quicker."""
    cells = cell_len(plain)
    if cells > width:
        return set_cell_size(plain, width - 1) + "…"
    return " " * (width - cells) + plain if right else plain + " " * (width - cells)
