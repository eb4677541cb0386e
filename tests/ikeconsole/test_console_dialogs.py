"""Help, the command palette and leaving: what works in every place."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_link import FakeLink
from rich.table import Table
from textual.widgets import Input, Static

from engine.control import calls
from ikeconsole.actions import ACTIONS
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.explanation import Explained
from ikeconsole.dialogs.help import Help
from ikeconsole.dialogs.quit import Quit
from ikeconsole.palette import Palette
from ikeconsole.widgets.key_bar import KeyBar

HOSTED = SimpleNamespace(ended=False)
Snap = Callable[..., bool]
Size = tuple[int, int]


def sentences(dialog: Help) -> list[str]:
    """What the help says of each action."""
    tables = [one.content for one in dialog.query(Static)]
    return [str(cell) for table in tables if isinstance(table, Table) for cell in table.columns[1].cells]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_help(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: Size, theme: str) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["question_mark"])


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_quitting(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: Size, theme: str) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["q"], hosted=HOSTED)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_confirming(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: Size, theme: str) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["down", "d"])


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_a_lost_engine(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: Size, theme: str) -> None:
    link = FakeLink()

    async def lose(pilot: object) -> None:
        link.broken = "no engine answers on /run/ikeconsole/control.sock"
        await look(pilot)  # type: ignore[arg-type]

    monkeypatch.setattr("ikeconsole.widgets.lost_banner.age", lambda _: "7s")
    assert picture(snap_compare, monkeypatch, size, theme, link=link, then=lose)


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5"])
async def test_help_names_every_key_of_the_place(key: str) -> None:
    app = console()
    async with app.run_test(size=(160, 100)) as pilot:
        await look(pilot)
        await pilot.press(key)
        await settle(pilot)
        place = app.place
        assert place is not None
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, Help)
        for action in (*ACTIONS[place.PLACE], *ACTIONS["console"]):
            assert action.help in sentences(app.screen)


@pytest.mark.asyncio
async def test_read_only_neither_offers_nor_explains_changes() -> None:
    app = console(read_only=True)
    async with app.run_test(size=(160, 100)) as pilot:
        await look(pilot)
        await pilot.press("down")
        await settle(pilot)
        assert "drain" not in str(app.screen.query_one(KeyBar).content)
        await pilot.press("d")
        await settle(pilot)
        assert not isinstance(app.screen, Confirm)
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, Help)
        assert all("no new ones" not in sentence for sentence in sentences(app.screen))


async def typed(app: ConsoleApp, pilot: object, line: str) -> list[str]:
    """Open the palette, type a line, and return what it offers."""
    await pilot.press("colon")  # type: ignore[attr-defined]
    await pilot.pause()  # type: ignore[attr-defined]
    assert isinstance(app.screen, Palette)
    app.screen.query_one(Input).value = line
    for _ in range(100):
        await pilot.pause(0.02)  # type: ignore[attr-defined]
        options = app.screen.query_one("CommandList")
        texts = [option.hit.text for option in options._options if hasattr(option, "hit")]  # type: ignore[attr-defined]
        if any(text and text.startswith(line) for text in texts):
            return texts
    return texts


@pytest.mark.asyncio
async def test_the_palette_takes_the_words_of_the_command_line() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        offered = await typed(app, pilot, "drain always-on-vpn/rras-1")
        assert offered[0] == "drain always-on-vpn/rras-1"
        await pilot.press("enter")
        for _ in range(100):
            if isinstance(app.screen, Confirm):
                break
            await pilot.pause(0.02)
        await pilot.press("y")
        await app.workers.wait_for_complete()
        assert link.api.changes[0][:4] == ("set_server", "always-on-vpn", "rras-1", "drain")


@pytest.mark.asyncio
async def test_a_client_can_be_explained_from_anywhere() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await typed(app, pilot, "explain 198.51.100.7")
        await pilot.press("enter")
        for _ in range(100):
            if isinstance(app.screen, Explained):
                break
            await pilot.pause(0.02)
        assert isinstance(app.screen, Explained)


@pytest.mark.asyncio
async def test_an_unfinished_command_is_begun() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        app.open_palette("clear ")
        await pilot.pause()
        assert app.screen.query_one(Input).value == "clear "


@pytest.mark.asyncio
async def test_an_attached_console_is_left_at_once() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("q")
        await pilot.pause()
    assert not app.is_running
    assert app.quit_choice == ""


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "choice"), [("b", "background"), ("s", "stop")])
async def test_leaving_a_hosted_engine_with_sessions_asks(key: str, choice: str) -> None:
    app = console(hosted=HOSTED)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("q")
        await settle(pilot)
        assert isinstance(app.screen, Quit)
        assert "1 292 sessions" in "".join(str(one.content) for one in app.screen.query(Static))
        await pilot.press("escape")
        await settle(pilot)
        assert app.is_running
        await pilot.press("q", key)
        await pilot.pause()
    assert app.quit_choice == choice


@pytest.mark.asyncio
async def test_refreshing_can_be_paused_and_slowed_down() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("space")
        assert not app.paused
        await pilot.press("minus")
        assert app.refresh_s == 2.0
        await pilot.press("plus", "plus")
        assert app.refresh_s == 0.5
        await pilot.press("space")
        assert app.paused
        await settle(pilot)
        asked = sum(isinstance(call, calls.GetStatus) for call in link.calls)
        await pilot.pause(0.7)
        assert sum(isinstance(call, calls.GetStatus) for call in link.calls) == asked
