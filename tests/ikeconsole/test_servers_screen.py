"""The list of real servers: what it shows, its filter, and what its keys do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from changing_engine import ChangingEngine
from console_pictures import LOOKS, NARROW, console, look, picture, settle
from fake_link import FakeLink
from textual.pilot import Pilot

from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.render.states import TERMINAL
from ikeconsole.screens.server import Server
from ikeconsole.screens.server_columns import server_columns
from ikeconsole.screens.servers import Servers
from ikeconsole.widgets.grid_columns import fit
from ikeconsole.widgets.line_filter import LineFilter

Snap = Callable[..., bool]


async def at_servers(pilot: Pilot[None]) -> Servers:
    """Go there."""
    await look(pilot)
    await pilot.press("3")
    await settle(pilot)
    assert isinstance(pilot.app.screen, Servers)
    return pilot.app.screen


def names(screen: Servers) -> list[str]:
    return [f"{server.service}/{server.name}" for server in screen.grid._rows]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_it_looks_so(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["3", "j", "j"])


def test_the_filter_looks_so(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    assert picture(snap_compare, monkeypatch, NARROW, "night", ["3", "slash", *"rras up", "enter"])


def test_health_has_room_at_every_width() -> None:
    columns = server_columns(lambda: TERMINAL, lambda: 0.0)
    for width in range(80, 240):
        shown, gap = fit(columns, width)
        widths = {column.title: cells for column, cells in shown}
        assert sum(widths.values()) + gap * (len(shown) - 1) <= width
        assert widths["HEALTH"] >= (12 if width < 110 else 17)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("partners", ["partners/sswan-1"]),
        ("RRAS-2", ["always-on-vpn/rras-2"]),
        ("10.0.0.13", ["always-on-vpn/rras-3"]),
        ("drain", ["always-on-vpn/rras-2"]),
        ("always up", ["always-on-vpn/rras-1"]),
    ],
)
async def test_the_filter_searches_service_name_address_and_state(typed: str, shown: list[str]) -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        screen = await at_servers(pilot)
        await pilot.press("slash", *("full_stop" if key == "." else "space" if key == " " else key for key in typed))
        await settle(pilot)
        assert names(screen) == shown


@pytest.mark.asyncio
async def test_no_key_changes_a_server_while_the_filter_is_typed_and_escape_shows_all_again() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        screen = await at_servers(pilot)
        await pilot.press("slash", "d", "x", "w")
        await settle(pilot)
        assert app.screen is screen
        assert screen.query_one(LineFilter).value == "dxw"
        assert "None of 4 servers has “dxw”" in screen.grid.empty
        assert not any(screen.offers(action) for action in ("drain", "disable", "weight", "probe", "enable"))
        await pilot.press("escape")
        await settle(pilot)
        assert len(names(screen)) == 4
        assert screen.grid.has_focus


@pytest.mark.asyncio
async def test_enter_opens_the_page_of_the_selected_server_and_escape_comes_back() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        screen = await at_servers(pilot)
        await pilot.press("j", "enter")
        await settle(pilot)
        assert isinstance(app.screen, Server)
        assert app.crumbs == ["servers", "rras-2"]
        await pilot.press("escape")
        await settle(pilot)
        assert app.crumbs == ["servers"]
        assert screen.grid.cursor == 1


@pytest.mark.asyncio
async def test_a_key_acts_on_the_selected_server() -> None:
    link = FakeLink(ChangingEngine())
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        screen = await at_servers(pilot)
        await pilot.press("j", "e")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await pilot.pause()
        await look(pilot)
        assert link.api.changes == [("set_server", "always-on-vpn", "rras-2", "enabled", None, "tester")]
        assert screen.grid.selected is not None
        assert screen.grid.selected.admin_state == "enabled"
        assert screen.offers("drain")
        assert not screen.offers("enable")


@pytest.mark.asyncio
async def test_without_any_server_it_says_how_to_add_one_and_offers_no_change() -> None:
    engine = ChangingEngine()
    engine.now = msgspec.structs.replace(engine.now, services=[])
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        screen = await at_servers(pilot)
        assert "No real server yet: press 4" in screen.grid.empty
        assert not screen.offers("drain")
        await pilot.press("d", "enter", "b")
        await settle(pilot)
        assert app.screen is screen
