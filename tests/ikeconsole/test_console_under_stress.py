"""Keys in haste, answers that come late or never, and engines that are other ones than before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import msgspec
import pytest
from console_pictures import console, look, settle
from fake_engine import STATUS, FakeEngine
from fake_link import FakeLink
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import OptionList, Static

from engine.control.calls import Call, GetConfig, GetServerHistory, GetStatus, PreviewServer, SetServer
from engine.control.status import EngineStatus
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.alarms import Alarms
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.explanation import explain
from ikeconsole.dialogs.quit import Quit
from ikeconsole.screens.history import History
from ikeconsole.screens.overview import Overview
from ikeconsole.screens.servers import Servers
from ikeconsole.screens.session import Session
from ikeconsole.screens.sessions import Sessions
from ikeconsole.widgets.lost_banner import LostBanner

R = TypeVar("R")


class SlowLink(FakeLink):
    """Answers calls of one kind only once it is allowed to."""

    def __init__(self, slow: type[Call[Any]], api: FakeEngine | None = None) -> None:
        super().__init__(api)
        self.slow = slow
        self.answers = asyncio.Event()

    async def ask(self, call: Call[R]) -> R:
        if isinstance(call, self.slow):
            await self.answers.wait()
        return await super().ask(call)


class Changing(FakeEngine):
    """What it says of itself can be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.present = STATUS

    def status(self) -> EngineStatus:
        return self.present


async def at_once(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys as one burst, as a fast hand or a slow line has them arrive."""
    for key in keys:
        pilot.app.post_message(events.Key(key, "\r" if key == "enter" else key))
    await settle(pilot)


def told(app: ConsoleApp) -> list[str]:
    return [f"{notice.title}: {notice.message}" for notice in app._notifications]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("before", "place"), [("a", None), ("t", Overview), ("2w", Sessions), ("2m", None), ("3w", Servers)]
)
async def test_enter_pressed_twice_in_haste_answers_a_dialog_once(before: str, place: type[Screen[Any]] | None) -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in before:
            await pilot.press(key)
            await settle(pilot)
        dialog = app.screen
        dialog.dismiss(None)
        dialog.dismiss(None)  # what a second key does that was on its way already
        await settle(pilot)
        assert app.is_running
        assert len(app.screen_stack) == 1
        assert place is None or isinstance(app.screen, place)


@pytest.mark.asyncio
async def test_a_phrase_chosen_twice_in_haste_runs_once() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("colon")
        await pilot.press(*"drain", "space", *"always")
        await pilot.pause(0.5)
        await at_once(pilot, "enter", "enter")
        await settle(pilot)
        assert [type(screen) for screen in app.screen_stack].count(Confirm) <= 1
        assert isinstance(app.screen_stack[0], Overview)


@pytest.mark.asyncio
async def test_alarms_that_end_below_another_dialog_do_not_take_that_away() -> None:
    api = Changing()
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("a")
        await settle(pilot)
        alarms = app.screen
        assert isinstance(alarms, Alarms)
        await app.push_screen(Quit(1))
        api.present = msgspec.structs.replace(STATUS, alarms=[])
        await look(pilot)
        alarms.follow()
        assert isinstance(app.screen, Quit)
        await pilot.press("escape")
        await settle(pilot)
        alarms.follow()
        await settle(pilot)
        assert isinstance(app.screen, Overview)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["[/bold].csv", "[bold]x.csv"])
async def test_brackets_in_the_title_of_a_dialog_are_shown_as_they_are(name: str) -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await app.push_screen(Confirm(f"Replace {name}", [name], "Replace"))
        await settle(pilot)
        assert str(app.screen.query_one(".dialog")._border_title) == f"Replace {name}"


@pytest.mark.asyncio
@pytest.mark.parametrize(("went_on", "asked"), [((), True), (("2",), False), (("slash", "y"), False)])
async def test_a_late_preview_is_not_put_before_an_operator_who_has_gone_on(
    went_on: tuple[str, ...], asked: bool
) -> None:
    link = SlowLink(PreviewServer)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("3", "d", *went_on):
            await pilot.press(key)
            await settle(pilot)
        link.answers.set()
        await settle(pilot)
        assert isinstance(app.screen, Confirm) is asked
        assert any("you have gone on" in line for line in told(app)) is not asked
        assert link.api.changes == []


@pytest.mark.asyncio
async def test_what_came_of_a_change_is_told_although_its_place_was_left() -> None:
    link = SlowLink(SetServer)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("3", "enter", "d", "y", "escape"):
            await pilot.press(key)
            await settle(pilot)
        assert isinstance(app.screen, Servers)
        link.answers.set()
        await settle(pilot)
        assert any(line.startswith("done: ") for line in told(app))


@pytest.mark.asyncio
async def test_an_answer_that_takes_long_is_said_to_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikeconsole.changes.asking.LATE_S", 0.01)
    app = console(SlowLink(PreviewServer))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("3", "d")
        await pilot.pause(0.1)
        assert any("not answered yet" in line for line in told(app))


@pytest.mark.asyncio
async def test_an_engine_that_is_there_but_silent_counts_as_lost_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ikeconsole.looking.SILENT_S", 0.0)
    link = SlowLink(GetStatus)
    link.answers.set()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        link.answers.clear()
        app.look_soon()
        await pilot.pause()
        app._watch()
        await pilot.pause()
        banner = app.screen.query_one(LostBanner)
        assert banner.display
        assert "it gives no answer" in str(banner.content)
        assert app.screen.has_class("stale")
        await pilot.press("3")  # keys work meanwhile
        assert isinstance(app.screen, Servers)
        link.answers.set()
        await settle(pilot)
        assert app.lost is None
        assert not app.screen.has_class("stale")


@pytest.mark.asyncio
@pytest.mark.parametrize("slow", [GetStatus, GetConfig])
async def test_an_answer_that_comes_while_the_console_ends_finds_nothing_to_draw(
    monkeypatch: pytest.MonkeyPatch, slow: type[Call[Any]]
) -> None:
    """Its place is still in front, but without widgets: that must not end in a traceback."""
    link = SlowLink(slow)
    link.answers.set()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("h")
        await settle(pilot)
        link.answers.clear()
        app.look_soon()
        await pilot.pause()
        monkeypatch.setattr(History, "on_unmount", lambda place: link.answers.set(), raising=False)
    assert link.answers.is_set()  # and nothing was raised


@pytest.mark.asyncio
@pytest.mark.parametrize("ended", [False, True])
async def test_leaving_asks_about_a_hosted_engine_that_is_silent_but_not_about_one_that_ended(ended: bool) -> None:
    link = FakeLink()
    app = console(link, hosted=SimpleNamespace(ended=ended))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        link.broken = "no answer"
        await look(pilot)
        await pilot.press("q")
        await settle(pilot)
        assert app.is_running is not ended
        assert ended or isinstance(app.screen, Quit)


@pytest.mark.asyncio
async def test_a_session_of_a_restarted_engine_is_not_taken_for_the_one_that_was_opened() -> None:
    api = Changing()
    link = FakeLink(api)
    app = console(link)
    async with app.run_test(size=(80, 40)) as pilot:
        await look(pilot)
        for key in ("2", "enter"):
            await pilot.press(key)
            await settle(pilot)
        place = app.screen
        assert isinstance(place, Session)
        api.present = msgspec.structs.replace(STATUS, pid=STATUS.pid + 1, started_at=STATUS.started_at + 60)
        await look(pilot)
        assert place._end.display
        assert not place.offers("clear")
        assert place._told == "the engine was restarted"


@pytest.mark.asyncio
async def test_an_answer_for_a_page_that_was_left_meanwhile_does_no_harm() -> None:
    link = SlowLink(GetServerHistory)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("3")
        await settle(pilot)
        await pilot.press("enter")
        app.look_soon()
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, Servers)
        link.answers.set()
        await settle(pilot)
        assert app.is_running
        assert app.lost is None


@pytest.mark.asyncio
async def test_paging_in_the_palette_before_its_list_is_drawn_does_no_harm() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("colon")
        listed = app.screen.query_one(OptionList)
        listed.add_option("drain")
        listed.highlighted = 0
        with patch.object(OptionList, "_update_lines"):
            listed._lines.clear()
            listed._clear_caches()
            await app.run_action("command_list('page_down')", app.screen)
        assert app.is_running


@pytest.mark.asyncio
async def test_a_client_that_no_service_would_serve_is_said_to_be_none() -> None:
    api = FakeEngine()
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        with patch.object(api, "explain", return_value=[]):
            app.run_worker(explain(app, "::1"))
            await settle(pilot)
            assert "No service would serve ::1" in str(app.screen.query_one(".dialog-line", Static).content)
