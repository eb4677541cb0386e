"""A grid sends to the terminal what has changed, and shows what drawing everything would show."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn

Row = tuple[str, str]


class OneGrid(App[None]):
    CSS = "Grid > .grid--changed { text-style: bold; }"

    def compose(self) -> ComposeResult:
        columns: list[GridColumn[Row]] = [
            GridColumn("NAME", 6, lambda row: row[0], grow=1),
            GridColumn("VALUE", 6, lambda row: row[1], right=True, mark=True),
        ]
        yield Grid[Row](columns, key=lambda row: row[0])

    @property
    def grid(self) -> Grid[Row]:
        return self.query_one(Grid)

    def lines(self) -> list[str]:
        return [strip.text for strip in self.grid.render_lines(Region(0, 0, *self.grid.size))]


def rows(count: int, **changed: str) -> list[Row]:
    return [(f"row{number}", changed.get(f"row{number}", "0")) for number in range(count)]


async def come_to_rest(pilot: Pilot[None]) -> str:
    """The picture when nothing changes any more: a scroll bar comes and goes after the rows."""
    before, picture = "", pilot.app.export_screenshot()
    while picture != before:
        await pilot.pause(0.05)
        before, picture = picture, pilot.app.export_screenshot()
    return picture


def drawn_by(app: OneGrid, shown: list[Row], monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The lines that showing rows draws again."""
    again: set[int] = set()
    draw = Grid.render_line

    def note(grid: Grid[Row], y: int) -> object:
        again.add(y)
        return draw(grid, y)

    with monkeypatch.context() as patched:
        patched.setattr(Grid, "render_line", note)
        app.grid.show(shown)
        app.lines()
    return again


@pytest.mark.asyncio
async def test_only_rows_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = OneGrid()
    async with app.run_test(size=(40, 12)) as pilot:
        app.grid.show(rows(8))
        await pilot.pause()
        assert drawn_by(app, rows(8), monkeypatch) == set()
        assert drawn_by(app, rows(8, row3="7"), monkeypatch) == {4}
        # The mark goes away with the next refresh, which draws that row once more.
        assert drawn_by(app, rows(8, row3="7"), monkeypatch) == {4}
        assert drawn_by(app, rows(8, row3="7"), monkeypatch) == set()


@pytest.mark.asyncio
@pytest.mark.parametrize("then", [rows(8)[::-1], rows(5), rows(30), [], rows(8)[3:] + rows(3)])
async def test_it_shows_the_same_as_when_everything_is_drawn(then: list[Row]) -> None:
    app = OneGrid()
    async with app.run_test(size=(40, 12)) as pilot:
        app.grid.show(rows(8))
        app.grid.select(2)
        await pilot.pause()
        app.grid.show(then)
        picture = await come_to_rest(pilot)
        app.grid.refresh()
        assert await come_to_rest(pilot) == picture
