"""Keys that come all at once do what they would do one by one: a slow line and a paste bring them so."""

from __future__ import annotations

from typing import Any

import pytest
from console_pictures import console, look, settle
from fake_link import FakeLink
from textual import events
from textual.pilot import Pilot

from ikeconsole.app import ConsoleApp
from ikeconsole.screens.real_server_settings import RealServerSettings
from ikeconsole.screens.servers import Servers
from ikeconsole.screens.service import Service
from ikeconsole.screens.sessions import Sessions
from ikeconsole.widgets.grid import Grid

NAMES = {".": "full_stop", "-": "minus", ":": "colon", "/": "slash"}


async def burst(pilot: Pilot[Any], *keys: str) -> None:
    """Everything is there before the first key is handled; a text is its letters."""
    app = pilot.app
    for key in keys:
        if len(key) > 1 and (key in NAMES.values() or key in ("tab", "enter", "escape", "down", "up", "pagedown")):
            app.post_message(events.Key(key, None))
        else:
            for letter in key:
                app.post_message(events.Key(NAMES.get(letter, letter), letter))
    await settled(pilot)


async def settled(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    while app.handling_keys:
        await settle(pilot)
    await settle(pilot)


def table(app: ConsoleApp) -> dict[str, Any]:
    assert isinstance(app.screen, RealServerSettings)
    assert app.screen.editing is not None
    assert app.screen.spot.place is not None
    values: dict[str, Any] = app.screen.editing.value(app.screen.spot.place)
    return values


@pytest.mark.asyncio
@pytest.mark.parametrize("step", ["tab", "down"])
async def test_what_is_typed_behind_a_step_to_the_next_field_is_meant_for_that_field(step: str) -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("4", "enter", "pagedown", "n"):
            await pilot.press(key)
            await settle(pilot)
        await burst(pilot, "rras-3", step, "127.0.0.30", "up", "3", step, step, "500")
        assert table(app) == {"name": "rras-33", "address": "127.0.0.30", "ike_port": 500}


@pytest.mark.asyncio
async def test_a_form_that_is_only_just_opened_takes_what_was_typed_for_it() -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("4", "enter", "pagedown"):
            await pilot.press(key)
            await settle(pilot)
        await burst(pilot, "n", "rras-3", "tab", "127.0.0.30")
        assert table(app) == {"name": "rras-3", "address": "127.0.0.30"}


@pytest.mark.asyncio
async def test_a_paste_comes_in_its_turn() -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("4", "enter", "pagedown", "n"):
            await pilot.press(key)
            await settle(pilot)
        app.post_message(events.Paste("rras-3"))
        app.post_message(events.Key("tab", None))
        app.post_message(events.Paste("127.0.0.30"))
        await settled(pilot)
        assert table(app) == {"name": "rras-3", "address": "127.0.0.30"}


@pytest.mark.asyncio
async def test_keys_behind_a_filter_line_are_for_the_list() -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("2")
        await settle(pilot)
        await burst(pilot, "/", "server:rras-1", "enter", "down", "down", "up")
        assert isinstance(app.screen, Sessions)
        assert isinstance(app.focused, Grid)
        await settle(pilot)
        assert app.focused.cursor == 1
        await pilot.press("3")
        await settle(pilot)
        await burst(pilot, "/", "rras", "enter", "down", "down", "up")
        assert isinstance(app.screen, Servers)
        assert isinstance(app.focused, Grid)
        assert app.focused.cursor == 1


@pytest.mark.asyncio
async def test_keys_behind_one_that_closes_a_screen_are_for_the_screen_below() -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key in ("4", "enter", "pagedown", "n"):
            await pilot.press(key)
            await settle(pilot)
        await burst(pilot, "rras-3", "escape", "n", "rras-4", "escape", "down")
        assert isinstance(app.screen, Service)
        assert app.screen.editing is not None
        servers = app.screen.editing.value(("service", 0, "real_server"))
        assert [server["name"] for server in servers[-2:]] == ["rras-3", "rras-4"]
