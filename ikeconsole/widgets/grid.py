"""A table that draws only the lines in sight, and asks for rows it does not have."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ikeconsole.actions import bindings
from ikeconsole.render.columns import printable
from ikeconsole.widgets.grid_columns import GridColumn, fit

T = TypeVar("T")

_HEADER_LINES = 1
_ASCENDING, _DESCENDING = "▲", "▼"


class Grid(ScrollView, Generic[T], can_focus=True):
    """Rows `T` under a header, with a cursor that stays on its row however the rows move.

    It holds a window of the rows: all of them for a short table, those around the lines in sight for a long one.
    """

    BINDINGS = bindings("grid")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--cursor",
        "grid--cursor-blurred",
        "grid--changed",
        "grid--stale",
    }

    class Wanted(Message):
        """Lines came in sight whose rows are not held."""

        def __init__(self, grid: Grid[T]) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[T]:
            """The grid that wants rows."""
            return self.grid

    class Opened(Message):
        """The operator opened the row under the cursor."""

        def __init__(self, grid: Grid[T]) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[T]:
            """The grid whose row was opened."""
            return self.grid

    class CursorMoved(Message):
        """Another row is under the cursor."""

        def __init__(self, grid: Grid[T]) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[T]:
            """The grid whose cursor moved."""
            return self.grid

    class SortAsked(Message):
        """The operator clicked on the title of a column that can be sorted by."""

        def __init__(self, grid: Grid[T], sort: str) -> None:
            super().__init__()
            self.grid = grid
            self.sort = sort

        @property
        def control(self) -> Grid[T]:
            """The grid whose header was clicked."""
            return self.grid

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
        self._changed: set[tuple[Hashable, int]] = set()

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
        before = self.selected
        self._mark_changes(rows)
        self._rows, self._offset = rows, offset
        self._total = offset + len(rows) if total is None else total
        self._follow()
        self.virtual_size = Size(self.size.width, self._total + _HEADER_LINES)
        self.refresh()
        if self.selected is not None and (before is None or self._key(self.selected) != self._key(before)):
            self.post_message(self.CursorMoved(self))

    def show_sort(self, sort: str, descending: bool) -> None:
        """Say in the header what the rows are sorted by."""
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
        moved = number != self._cursor
        self._cursor = number
        row = self._row(number)
        self._cursor_key = None if row is None else self._key(row)
        top, lines = self.window
        if number < top:
            self.scroll_to(y=number, animate=False)
        elif number >= top + lines:
            self.scroll_to(y=number - lines + 1, animate=False)
        self.refresh()
        if moved:
            self.post_message(self.CursorMoved(self))

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
        self._want()

    def render_line(self, y: int) -> Strip:
        """Draw the header or a row."""
        width = self.size.width
        if y < _HEADER_LINES:
            return self._header(width)
        number = self.window[0] + y - _HEADER_LINES
        if number >= self._total:
            text = Text(self.empty if self._total == 0 and y == _HEADER_LINES + 1 else "")
            return self._strip([text], self.rich_style, width)
        base = self._row_style(number)
        row = self._row(number)
        if row is None:
            return self._strip([Text(" …")], base, width)
        shown, gap = fit(self.columns, width)
        key = self._key(row)
        parts = []
        for place, (column, cells) in enumerate(shown):
            text = _cell(column, row)
            if (key, self.columns.index(column)) in self._changed and not self._stale:
                text.stylize(self.get_component_rich_style("grid--changed", partial=True))
            parts.append(_aligned(text, cells, column.right))
            if place < len(shown) - 1:
                parts.append(Text(" " * gap))
        if self._stale:
            parts = [Text(part.plain) for part in parts]
        return self._strip(parts, base, width)

    def _header(self, width: int) -> Strip:
        shown, gap = fit(self.columns, width)
        titles = []
        for place, (column, cells) in enumerate(shown):
            arrow = (_DESCENDING if self.descending else _ASCENDING) if column.sort == self.sorted_by != "" else ""
            titles.append(_aligned(Text(column.title + arrow), cells, column.right))
            if place < len(shown) - 1:
                titles.append(Text(" " * gap))
        return self._strip(titles, self.get_component_rich_style("grid--header"), width)

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
        return self.get_component_rich_style("grid--stale") if self._stale else self.rich_style

    def _strip(self, parts: Sequence[Text], base: Style, width: int) -> Strip:
        console = self.app.console
        segments = []
        for part in parts:
            style = base + console.get_style(part.style)
            for segment in part.render(console, end=""):
                segments.append(Segment(segment.text, style + segment.style if segment.style else style))
        return Strip(segments).adjust_cell_length(width, base)

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
        row = self._row(self._cursor)
        self._cursor_key = None if row is None else self._key(row)

    def _mark_changes(self, rows: Sequence[T]) -> None:
        marked = [(number, column) for number, column in enumerate(self.columns) if column.mark]
        self._changed.clear()
        seen = {}
        for row in rows:
            key = self._key(row)
            values = tuple(_cell(column, row).plain for _, column in marked)
            before = self._seen.get(key, values)
            self._changed |= {(key, marked[place][0]) for place in range(len(marked)) if values[place] != before[place]}
            seen[key] = values
        self._seen = seen

    def _want(self) -> None:
        top, lines = self.window
        last = min(top + lines, self._total)
        if top < self._offset or last > self._offset + len(self._rows):
            self.post_message(self.Wanted(self))


def _cell(column: GridColumn[T], row: T) -> Text:
    cell = column.cell(row)
    return cell.copy() if isinstance(cell, Text) else Text(printable(cell))


def _aligned(text: Text, cells: int, right: bool) -> Text:
    text.no_wrap = True
    text.truncate(cells, overflow="ellipsis")
    missing = cells - text.cell_len
    if right:
        text.pad_left(missing)
    else:
        text.pad_right(missing)
    return text
