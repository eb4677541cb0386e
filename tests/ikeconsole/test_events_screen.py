"""The events place: what happened, filtered and followed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import EVENTS, FakeEngine
from fake_link import FakeLink
from textual.widgets import Static

from engine.control.records import Event
from ikeconsole.app import ConsoleApp
from ikeconsole.widgets.grid import Grid


class EngineWithManyEvents(FakeEngine):
    """More than fits in one answer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log = [
            msgspec.structs.replace(EVENTS[number % 3], number=number, at=EVENTS[0].at + number)
            for number in range(1, count + 1)
        ]

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        return [one for one in self.log if one.number > after and (not before or one.number < before)][-limit:]


def summary(app: ConsoleApp) -> str:
    return str(app.screen.query_one("#events-summary", Static).content)


def grid(app: ConsoleApp) -> Grid[Event]:
    return app.screen.query_one(Grid)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["5"])


@pytest.mark.asyncio
async def test_old_events_are_fetched_bit_by_bit_and_new_ones_as_they_happen() -> None:
    engine = EngineWithManyEvents(2500)
    app = console(FakeLink(engine))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("5")
        await settle(pilot)
        while grid(app).total < 2500:
            before = grid(app).total
            await look(pilot)
            assert grid(app).total > before
        engine.log.append(msgspec.structs.replace(EVENTS[0], number=2501))
        await look(pilot)
        assert grid(app).total == 2501
        assert grid(app).cursor == 2500


@pytest.mark.asyncio
async def test_going_up_stops_following_and_f_resumes_it() -> None:
    engine = EngineWithManyEvents(50)
    app = console(FakeLink(engine))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("5")
        await settle(pilot)
        await pilot.press("k", "k")
        await settle(pilot)
        assert "not following" in summary(app)
        reading = grid(app).selected
        engine.log.append(msgspec.structs.replace(EVENTS[0], number=51))
        await look(pilot)
        assert grid(app).selected == reading
        await pilot.press("f")
        await settle(pilot)
        assert grid(app).cursor == 50


@pytest.mark.asyncio
async def test_words_and_severity_filter_and_escape_brings_all_back() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("5", "slash", *"drain alice")
        await settle(pilot)
        assert [row.number for row in grid(app)._rows] == [2]
        await pilot.press("escape")
        await settle(pilot)
        assert grid(app).total == 3
        await pilot.press("s", "s", "s")
        await settle(pilot)
        assert "error and graver" in summary(app)
        assert grid(app).total == 1


@pytest.mark.asyncio
async def test_enter_opens_the_sessions_of_the_client_concerned() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("5")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert app.root == "sessions"


@pytest.mark.asyncio
async def test_another_engine_begins_its_events_anew() -> None:
    engine = EngineWithManyEvents(10)
    app = console(FakeLink(engine))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("5")
        await settle(pilot)
        old_status = engine.status()
        engine.status = lambda: msgspec.structs.replace(old_status, pid=4712)  # type: ignore[method-assign]
        engine.log = engine.log[:2]
        await look(pilot)
        assert grid(app).total == 2
