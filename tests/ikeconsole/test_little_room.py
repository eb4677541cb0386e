"""What matters can be seen and reached on a small screen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from console_pictures import console, look, settle
from textual.pilot import Pilot
from textual.widgets import Button, Input

from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.looking import Lost
from ikeconsole.widgets.lost_banner import LostBanner
from ikeconsole.widgets.place_bar import PlaceBar

TINY = (40, 12)
LOSS = "no engine answers on /run/ikeconsole/control.sock: start one with `ikeconsole engine`"


def lines(pilot: Pilot[Any]) -> list[str]:
    return [strip.text for strip in pilot.app.screen._compositor.render_strips()]


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


@pytest.mark.asyncio
@pytest.mark.parametrize(("number", "bar"), [("1", "1 overview 2 3 4 5"), ("4", "1 2 3 4 services 5")])
async def test_the_last_line_names_the_present_place_and_the_keys_of_the_others(number: str, bar: str) -> None:
    app = console()
    async with app.run_test(size=TINY) as pilot:
        await look(pilot)
        await press(pilot, number)
        assert str(app.screen.query_one(PlaceBar).render()).split("  ", 1)[0].strip() == bar
        assert lines(pilot)[-1].endswith("? help ")


@pytest.mark.asyncio
async def test_every_answer_about_leaving_is_within_its_frame_and_all_of_the_question_can_be_read() -> None:
    app = console(hosted=SimpleNamespace(ended=False))
    async with app.run_test(size=TINY) as pilot:
        await look(pilot)
        await press(pilot, "q")
        assert isinstance(app.screen, Dialog)
        frame = app.screen.query_one(".dialog").region
        assert all(frame.contains_region(button.region) for button in app.screen.query(Button))
        await press(pilot, *["down"] * 4)
        assert "their tunnels break" in " ".join(line.strip(" │") for line in lines(pilot))


@pytest.mark.asyncio
async def test_the_values_of_a_form_have_room() -> None:
    app = console()
    async with app.run_test(size=TINY) as pilot:
        await look(pilot)
        await press(pilot, "4", "enter")
        assert all(field.size.width >= 15 for field in app.screen.query(Input))
        assert "203.0.113.10" in "\n".join(lines(pilot))


@pytest.mark.asyncio
async def test_the_keys_stay_in_sight_under_a_toast() -> None:
    app = console()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await look(pilot)
        keys = lines(pilot)[-2:]
        app.notify("A sentence that is so long that it takes several lines of a toast. " * 3, title="not done")
        await settle(pilot)
        assert any("not done" in line for line in lines(pilot))
        assert lines(pilot)[-2:] == keys


@pytest.mark.asyncio
async def test_what_to_do_about_a_lost_engine_is_not_cut_off() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        app.lost = Lost(0.0, LOSS)
        app.screen.query_one(LostBanner).show()
        await settle(pilot)
        banner = " ".join(line.strip() for line in lines(pilot)[1:3])
        assert "ago; this is what it was then; trying again: no engine answers on" in banner
        assert banner.endswith("start one with `ikeconsole engine`")
