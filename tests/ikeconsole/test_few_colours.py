"""On terminals of 16 colours states keep theirs, and what is selected can be told from the rest."""

from __future__ import annotations

from typing import Any

import pytest
from console_pictures import console, look, settle
from rich.color import Color, ColorSystem
from rich.segment import Segment
from textual.pilot import Pilot

GREEN, YELLOW, RED = (Color.parse(name).number for name in ("green", "yellow", "red"))
THEMES = ("night", "day", "fjord", "paper", "contrast", "colorblind")


def number(colour: Color | None) -> int | None:
    return None if colour is None else colour.downgrade(ColorSystem.STANDARD).number


def shown(pilot: Pilot[Any], words: str) -> tuple[int | None, int | None]:
    """The ink and the ground, of 16 colours, in which the first of these words comes to the terminal."""
    segments = [segment for strip in pilot.app.screen._compositor.render_strips() for segment in strip]
    segment: Segment = next(segment for segment in segments if words in segment.text)
    assert segment.style is not None
    ink, ground = number(segment.style.color), number(segment.style.bgcolor)
    return (ground, ink) if segment.style.reverse else (ink, ground)


@pytest.fixture(params=["linux", "xterm"])
def _few_colours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", request.param)
    monkeypatch.delenv("COLORTERM")


@pytest.mark.asyncio
@pytest.mark.usefixtures("_few_colours")
@pytest.mark.parametrize("theme", THEMES)
async def test_states_have_the_colours_of_the_terminal(theme: str) -> None:
    app = console(theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        assert [shown(pilot, state)[0] for state in ("● up", "◐ drain", "○ down")] == [GREEN, YELLOW, RED]


@pytest.mark.asyncio
@pytest.mark.usefixtures("_few_colours")
@pytest.mark.parametrize("theme", [*THEMES, "ansi-dark", "ansi-light"])
async def test_the_selected_row_is_set_apart_and_can_be_read(theme: str) -> None:
    app = console(theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        other = shown(pilot, "rras-2")
        await pilot.press("down", "down")
        await settle(pilot)
        cursor = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
        row = next(segment for segment in cursor if "rras-2" in segment.text)
        assert row.style is not None
        assert row.style.reverse
        assert shown(pilot, "rras-2") == tuple(reversed(other))


@pytest.mark.asyncio
@pytest.mark.usefixtures("_few_colours")
@pytest.mark.parametrize("theme", [*THEMES, "ansi-dark", "ansi-light"])
async def test_the_selected_option_and_choice_are_set_apart_and_can_be_read(theme: str) -> None:
    app = console(theme=theme)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("a")
        await settle(pilot)
        chosen, other = shown(pilot, "its clients go to other servers"), shown(pilot, "server may refuse")
        assert chosen != other
        assert chosen[0] != chosen[1]
        for key in ("escape", "4", "enter", "down", "down", "down", "down"):
            await pilot.press(key)
            await settle(pilot)
        chosen, other = shown(pilot, "transparent"), shown(pilot, "always-on-vpn")
        assert chosen[1] != other[1]
        assert chosen[0] != chosen[1]


@pytest.mark.asyncio
async def test_with_256_colours_the_theme_says_how_a_selected_row_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORTERM")
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        row = next(
            segment
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if "always-on-vpn" in segment.text and segment.style and segment.style.bold
        )
        assert row.style is not None
        assert not row.style.reverse
        app.theme = "ansi-dark"
        await settle(pilot)
        assert app.has_class("few-colours")
        app.theme = "night"
        await settle(pilot)
        assert not app.has_class("few-colours")
