"""A theme is tried by moving to it, kept by Enter, and given back by Escape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.app import App
from textual.widgets import OptionList, Static

import ikeconsole
from ikeconsole.looks.state_styles import state_variables
from ikeconsole.looks.themes import load_themes, search_path
from ikeconsole.looks.toml_files import FileProblem
from ikeconsole.screens.theme_picker import ThemePicker

STYLES = sorted((Path(ikeconsole.__file__).parent / "styles").glob("*.tcss"))


class Host(App[None]):
    """An app with nothing in it but the picker."""

    CSS_PATH = STYLES

    def __init__(self, problems: Sequence[FileProblem] = ()) -> None:
        super().__init__()
        self.answers: list[str | None] = []
        for theme in load_themes(search_path()[:1])[0]:
            self.register_theme(theme)
        self.theme = "night"
        self._problems = problems

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return state_variables(self.current_theme)

    def on_mount(self) -> None:
        self.push_screen(ThemePicker(self._problems), self.answers.append)


def worn_and_listed(app: App[None]) -> tuple[str, list[str | None]]:
    options = app.screen.query_one(OptionList)
    return app.theme, [options.get_option_at_index(index).id for index in range(options.option_count)]


@pytest.mark.asyncio
async def test_our_themes_come_first_and_the_worn_one_is_under_the_cursor() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)):
        worn, listed = worn_and_listed(app)
        assert worn == "night"
        assert listed[:6] == ["colorblind", "contrast", "day", "fjord", "night", "paper"]
        assert set(listed) == set(app.available_themes)
        highlighted = app.screen.query_one(OptionList).highlighted
        assert highlighted is not None
        assert listed[highlighted] == "night"


@pytest.mark.asyncio
@pytest.mark.parametrize(("down", "up"), [("down", "up"), ("j", "k")])
async def test_moving_tries_and_enter_keeps(down: str, up: str) -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(down)
        assert app.theme == "paper"
        await pilot.press(up, up)
        assert app.theme == "fjord"
        assert app.answers == []
        await pilot.press("enter")
        assert app.theme == "fjord"
        assert app.answers == ["fjord"]


@pytest.mark.asyncio
async def test_escape_gives_back_the_theme_from_before() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "j", "j", "escape")
        await pilot.pause()
        assert app.theme == "night"
        assert app.answers == [None]


@pytest.mark.asyncio
async def test_every_theme_can_be_tried() -> None:
    """Those of the terminal's own palette too."""
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("home")
        tried = [app.theme]
        for _ in range(len(app.available_themes) - 1):
            await pilot.press("j")
            tried.append(app.theme)
        assert set(tried) == set(app.available_themes)


@pytest.mark.asyncio
async def test_theme_files_left_out_are_mentioned() -> None:
    """With the whole message of the first, as it stands, and a number for the rest."""
    problems = [FileProblem(Path("/etc/a[b].toml"), "name", "is missing"), FileProblem(Path("/etc/c.toml"), "", "is")]
    app = Host(problems)
    async with app.run_test(size=(80, 24)):
        said = str(app.screen.query_one("#theme-problems", Static).render())
        assert said == "▲ Left out: /etc/a[b].toml:name: is missing (and 1 more)"
        assert app.screen.query_one("#theme-keys").region.bottom <= 24
