"""The history of the configuration: what changed, what the file says by now, reloading and undoing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import CONFIG, NOW, FakeEngine
from fake_link import FakeLink
from textual.pilot import Pilot

from engine.control.api import Refused
from engine.control.records import Change, ConfigState, Revision
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.message import Message
from ikeconsole.dialogs.plan import ShowPlan
from ikeconsole.dialogs.reload import ShowReload
from ikeconsole.screens.history import History

WEIGHTED = (
    '--- before\n+++ revision 7\n@@ -9,2 +9,3 @@\n name = "rras-2"\n-weight = 100\n+weight = 50\n+state = "drain"'
)
FIRST = '--- before\n+++ revision 6\n@@ -0,0 +1 @@\n+name = "[b]rras-1"'


class Historian(FakeEngine):
    """Has two revisions and a file that can be in step with what runs."""

    in_step = False
    invalid = False

    async def history(self, limit: int) -> list[Revision]:
        newest = Revision(number=7, at=NOW - 3600, author="alice", summary="rras-2: drain", difference=WEIGHTED)
        return [newest, Revision(number=6, at=NOW - 9000, author="engine", summary="at start", difference=FIRST)]

    async def config(self) -> ConfigState:
        in_step = ConfigState(path=CONFIG.path, text="", on_disk_differs=False, difference="")
        return in_step if self.in_step else CONFIG

    async def reload(self, author: str) -> Change:
        if self.invalid:
            raise Refused("invalid", "the file is not valid", ["config.toml:service.vpn.address: is missing"])
        return await super().reload(author)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)
    await pilot.pause()


def words(app: ConsoleApp, selector: str) -> str:
    return "\n".join(str(widget.render()) for widget in app.screen.query(selector))


def historian(**state: bool) -> FakeLink:
    api = Historian()
    api.in_step, api.invalid = state.get("in_step", False), state.get("invalid", False)
    return FakeLink(api)


@pytest.mark.asyncio
async def test_the_file_comes_first_while_it_differs_and_each_revision_shows_what_it_changed() -> None:
    app = console(historian())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "h")
        assert isinstance(app.screen, History)
        assert [row.number for row in app.screen.grid._rows] == [0, 7, 6]
        assert "+weight = 50" in words(app, "#revision Static")
        assert "drain" not in words(app, "#revision Static")
        await press(pilot, "down")
        assert '+state = "drain"' in words(app, "#revision Static")
        await press(pilot, "down")
        assert '+name = "[b]rras-1"' in words(app, "#revision Static")
        assert [row.lines for row in app.screen.grid._rows] == ["+1 -1", "+2 -1", "+1 -0"]


@pytest.mark.asyncio
async def test_undo_says_what_it_would_do_and_does_it_only_then() -> None:
    link = historian()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "h", "u")
        assert isinstance(app.screen, ShowPlan)
        assert "rras-2 state: drain → enabled" in words(app, ".plan-change")
        await press(pilot, "enter")
        assert not link.api.changes
        await press(pilot, "u", "tab", "enter")
        assert link.api.changes == [("undo", "tester")]


@pytest.mark.asyncio
async def test_reload_shows_the_difference_first() -> None:
    link = historian()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "r")
        assert isinstance(app.screen, ShowReload)
        assert "+weight = 50" in words(app, "#plan-difference Static")
        await press(pilot, "escape")
        assert not link.api.changes
        await press(pilot, "r", "tab", "enter")
        assert link.api.changes == [("reload", "tester")]


@pytest.mark.asyncio
async def test_a_file_that_is_not_valid_is_refused_with_its_problems() -> None:
    app = console(historian(invalid=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "r", "tab", "enter")
        assert isinstance(app.screen, Message)
        assert "config.toml:service.vpn.address: is missing" in words(app, ".dialog-line")


@pytest.mark.asyncio
async def test_nothing_is_reloaded_while_the_file_is_what_runs_nor_by_one_who_may_only_look() -> None:
    link = historian(in_step=True)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "r", "h")
        assert isinstance(app.screen, History)
        assert [row.number for row in app.screen.grid._rows] == [7, 6]
    link.may_change = False
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "h", "u", "r")
        assert isinstance(app.screen, History)
        assert not link.api.changes


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_the_history_looks_as_it_did(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ("h", "down"), link=historian())
