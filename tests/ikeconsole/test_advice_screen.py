"""The console's place for advice: what to set, why, and copying it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import STATUS, FakeEngine
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from engine.control.api import Refused
from engine.control.calls import GetAdvice
from engine.control.records import Advice
from ikeconsole.app import ConsoleApp
from ikeconsole.screens.advice import Advised
from ikeconsole.widgets.page import Page


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)
    await pilot.pause()


def advised(app: ConsoleApp) -> Advised:
    assert isinstance(app.screen, Advised)
    return app.screen


def whole(app: ConsoleApp) -> str:
    return str(app.screen.query_one("#whole-advice Static", Static).render())


def asked(link: FakeLink) -> list[tuple[str, str]]:
    return [(call.service, call.server) for call in link.calls if isinstance(call, GetAdvice)]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_the_gravest_advice_is_shown_whole(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["5", "A"])


@pytest.mark.parametrize(("size", "theme"), LOOKS[::3])
def test_settings_of_strongswan_beside_those_of_windows(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["5", "A", "down", "down", "enter", "ctrl+f"])


@pytest.mark.asyncio
async def test_it_opens_with_advice_on_what_is_selected() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4", "down", "A")
        assert asked(link) == [("partners", "")]
        assert {row.service for row in [advised(app).grid.selected] if row} == {"partners"}
        await press(pilot, "escape", "3", "down", "A")
        assert asked(link)[-1] == ("always-on-vpn", "rras-2")
        await press(pilot, "e")
        await look(pilot)
        assert asked(link)[-1] == ("", "")
        assert advised(app).grid.total == len(await FakeEngine().advice("", ""))


@pytest.mark.asyncio
async def test_the_palette_takes_the_words_of_the_command_line() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "colon", *"advise partners/sswan-", "1", "enter")
        await pilot.app.workers.wait_for_complete()
        await settle(pilot)
        assert asked(link) == [("partners", "sswan-1")]
        assert "Have sswan-1 accept many clients" in whole(app)


@pytest.mark.asyncio
async def test_what_is_to_be_set_is_copied_one_language_at_a_time() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "5", "A", "y")
        assert "New-NetRoute @route" in app.clipboard
        await press(pilot, "down", "down", "y")
        assert app.screen.query_one(OptionList).option_count == 2
        await press(pilot, "down", "enter")
        assert app.clipboard.startswith("charon {\n")
        assert "IKEEXT" not in app.clipboard


@pytest.mark.asyncio
async def test_nothing_can_be_copied_where_all_is_well() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "5", "A", "G")
        assert advised(app).grid.selected.severity == "well"  # type: ignore[union-attr]
        assert not advised(app).check_action("copy", ())
        await press(pilot, "y")
        assert app.clipboard == ""


@pytest.mark.asyncio
async def test_a_long_advice_is_scrolled_and_the_next_one_begins_at_its_start() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "5", "A", "enter", "G")
        page = app.screen.query_one(Page)
        assert page.has_focus
        assert page.scroll_y > 0
        await press(pilot, "shift+tab", "down")
        assert page.scroll_y == 0


@pytest.mark.asyncio
async def test_advice_on_a_server_that_is_gone_becomes_all_there_is() -> None:
    class Forgetful(FakeEngine):
        async def advice(self, service: str, server: str) -> list[Advice]:
            if server:
                raise Refused("not-found", "there is no such real server")
            return await super().advice(service, server)

    app = console(FakeLink(Forgetful()))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "3", "A")
        assert advised(app).grid.total > 0
        assert not advised(app).check_action("widen", ())


@pytest.mark.asyncio
async def test_the_engine_is_not_asked_at_every_look() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "5", "A")
        await look(pilot)
        await look(pilot)
        assert len(asked(link)) == 1
        assert STATUS.services
