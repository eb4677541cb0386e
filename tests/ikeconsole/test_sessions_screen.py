"""The session list: right rows whatever their number, a filter that helps, changes that say what they do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import FakeEngine
from fake_link import FakeLink
from many_sessions import ManySessions
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.control.api import Refused
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.clear_choice import ClearChoice
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.navigation import open_sessions
from ikeconsole.screens.session import Session
from ikeconsole.screens.sessions import MARGIN, Sessions
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.session_filter import PAUSE_S


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def to_sessions(pilot: Pilot[Any]) -> Sessions:
    await look(pilot)
    await press(pilot, "2")
    assert isinstance(pilot.app.screen, Sessions)
    return pilot.app.screen


async def typed(pilot: Pilot[Any], text: str) -> None:
    """As it is typed, and the pause after it."""
    for character in text:
        await pilot.press(character)
    await asyncio.sleep(1.5 * PAUSE_S)
    await settle(pilot)


def drawn(place: Sessions) -> list[str]:
    """The lines of the grid."""
    grid = place.grid
    return [grid.render_line(y).text for y in range(grid.size.height)]


def clients(place: Sessions) -> list[str]:
    """What stands in the first column of the rows in sight."""
    return [line.split()[0] for line in drawn(place)[1:] if line.strip()]


def expected(numbers: range) -> list[str]:
    return [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:4500" for n in numbers]


def head(place: Sessions) -> str:
    return str(place.query_one(HeadLine).content)


def said(app: ConsoleApp) -> str:
    """The toasts."""
    return "\n".join(f"{toast.title}: {toast.message}" for toast in app._notifications)


@pytest.mark.asyncio
async def test_a_hundred_thousand_sessions_are_scrolled_through_with_right_rows_everywhere() -> None:
    api = ManySessions(100_000)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        lines = place.grid.window[1]
        assert clients(place) == expected(range(1, lines + 1))
        await press(pilot, "G")
        assert clients(place) == expected(range(100_001 - lines, 100_001))
        await press(pilot, "g", *["pagedown"] * 30)
        last = 30 * lines + 1
        assert place.grid.selected == api.rows[last]
        assert clients(place) == expected(range(last - lines + 1, last + 1))
        await press(pilot, *["down"] * 40)
        assert clients(place) == expected(range(last + 41 - lines, last + 41))
        assert all(query.limit <= lines + 2 * MARGIN for query in api.queries)


@pytest.mark.asyncio
async def test_rows_are_asked_for_before_they_come_in_sight() -> None:
    """Going down line by line never shows a row that is not there yet."""
    api = ManySessions(1000)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        for _ in range(3 * MARGIN):
            await pilot.press("down")
            assert "…" not in "".join(clients(place))


@pytest.mark.asyncio
async def test_a_held_key_never_has_more_than_one_question_under_way_and_ends_at_the_right_rows() -> None:
    api = ManySessions(100_000)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        before = len(api.queries)
        api.held = asyncio.Event()
        for _ in range(50):
            await pilot.press("pagedown")
        assert len(api.queries) == before + 1
        api.held.set()
        await settle(pilot)
        await settle(pilot)
        assert api.most_running == 1
        assert len(api.queries) <= before + 3
        last = 50 * place.grid.window[1] + 1
        assert place.grid.selected == api.rows[last]
        assert clients(place)[-1:] == expected(range(last, last + 1))


@pytest.mark.asyncio
async def test_scrolling_takes_the_same_order_and_a_look_a_new_one() -> None:
    api = ManySessions(3000)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "G")
        assert api.queries[-1].max_age_s > 0
        await look(pilot)
        assert api.queries[-1].max_age_s == 0


@pytest.mark.asyncio
async def test_a_huge_table_is_not_sorted_anew_for_every_look() -> None:
    api = ManySessions(50_000)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await look(pilot)
        assert api.queries[-1].max_age_s > 0


@pytest.mark.asyncio
async def test_the_cursor_stays_on_its_session_when_others_end() -> None:
    api = ManySessions(500)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        await press(pilot, *["down"] * 9)
        for number in range(1, 6):
            del api.rows[number]
        await look(pilot)
        assert place.grid.selected == api.rows[10]
        assert place.grid.cursor == 4


@pytest.mark.asyncio
async def test_sorting_says_so_begins_at_the_top_and_can_be_turned_round() -> None:
    api = ManySessions(500)
    async with console(FakeLink(api)).run_test(size=(120, 24)) as pilot:
        place = await to_sessions(pilot)
        assert "by age ▲" in head(place)
        await press(pilot, "G")
        place._sort_by("bytes_out")
        await settle(pilot)
        assert "by bytes out ▼" in head(place)
        assert "OUT▼" in drawn(place)[0]
        most = max(api.rows.values(), key=lambda row: row.traffic.bytes_out)
        assert place.grid.selected == most
        await press(pilot, "S")
        assert "by bytes out ▲" in head(place)
        assert place.grid.selected == min(api.rows.values(), key=lambda row: row.traffic.bytes_out)


@pytest.mark.asyncio
async def test_the_sort_key_goes_through_all_columns_and_a_title_can_be_clicked() -> None:
    async with console(FakeLink(ManySessions(5))).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        seen = []
        for _ in range(11):
            await press(pilot, "s")
            seen.append(head(place).split(" by ")[1].strip(" ▲▼"))
        assert len(set(seen)) == 11
        assert seen[-1] == "age"
        await pilot.click(place.grid, offset=(1, 0))
        await settle(pilot)
        assert "by client ▲" in head(place)
        await pilot.click(place.grid, offset=(1, 0))
        await settle(pilot)
        assert "by client ▼" in head(place)


@pytest.mark.asyncio
async def test_rates_are_unknown_at_first_then_bits_a_second_between_two_looks() -> None:
    api = ManySessions(3)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        assert drawn(place)[1].split()[5:7] == ["-", "-"]
        api.pass_time(2.0, bytes_in=250_000)
        await look(pilot)
        assert drawn(place)[1].split()[5:7] == ["1.0M", "0"]


@pytest.mark.asyncio
async def test_a_filter_is_applied_while_it_is_typed_kept_by_enter_and_given_back_by_escape() -> None:
    api = ManySessions(100)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        await press(pilot, "slash")
        await typed(pilot, "server:rras-1")
        assert "50 of 100   server:rras-1" in head(place)
        assert {row.server for row in place.grid._rows} == {"rras-1"}
        await press(pilot, "escape")
        assert "100 of 100   every session" in head(place)
        await press(pilot, "slash", *"server:rras-2", "enter")
        assert "50 of 100   server:rras-2" in head(place)
        assert pilot.app.focused is place.grid
        await press(pilot, "slash", "ctrl+u", "enter")
        assert "100 of 100   every session" in head(place)


@pytest.mark.asyncio
async def test_a_wrong_filter_is_explained_in_place_and_changes_nothing() -> None:
    api = ManySessions(100)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        await press(pilot, "slash")
        await typed(pilot, "phase:sleepy idle>60s")
        told = str(place._filter.query_one(Static).content)
        assert "phase:sleepy" in told
        assert "established" in told
        await press(pilot, "enter")
        assert place._filter.display
        assert "100 of 100   every session" in head(place)
        assert {query.filter for query in api.queries} == {""}


@pytest.mark.asyncio
async def test_tab_completes_keys_and_known_names_and_up_brings_back_former_lines() -> None:
    async with console(FakeLink(ManySessions(10))).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        line = place._filter.query_one(Input)
        await press(pilot, "slash", *"serv", "tab")
        assert line.value == "server:"
        await press(pilot, "tab")
        assert line.value == "service:"
        await press(pilot, "ctrl+u", *"server:", "tab", "tab")
        assert line.value == "server:rras-2"
        assert "rras-1  server:rras-2" in str(place._filter.query_one(Static).content)
        await press(pilot, "shift+tab")
        assert line.value == "server:rras-1"
        await press(pilot, "space", *"pha", "tab", *"est", "tab")
        assert line.value == "server:rras-1 phase:established "
        await press(pilot, "enter", "slash", "ctrl+u", "enter", "slash", "up")
        assert line.value == "server:rras-1 phase:established"
        await press(pilot, "down")
        assert line.value == ""


@pytest.mark.asyncio
async def test_another_place_opens_the_list_with_a_filter() -> None:
    app = console(FakeLink(ManySessions(100)))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await open_sessions(app, "server:rras-1")
        await settle(pilot)
        assert isinstance(app.screen, Sessions)
        assert "50 of 100   server:rras-1" in head(app.screen)


@pytest.mark.asyncio
async def test_an_empty_list_says_what_to_do() -> None:
    api = ManySessions(0)
    async with console(FakeLink(api)).run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        assert "point a VPN client at 203.0.113.10 (always-on-vpn)" in "".join(drawn(place))
        api.rows = ManySessions(4).rows
        place.show_filter("server:nobody")
        await settle(pilot)
        assert "None of 4 sessions matches server:nobody" in "".join(drawn(place))


@pytest.mark.asyncio
async def test_clearing_asks_which_when_the_client_has_several_sessions() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "c")
        assert isinstance(app.screen, ClearChoice)
        await press(pilot, "escape")
        assert link.api.changes == []
        await press(pilot, "c", "right", "enter")
        assert link.api.changes == [("clear", "", 1)]
        await press(pilot, "c", "right", "right", "enter")
        assert link.api.changes[1:] == [("clear", "198.51.100.7", None)]
        assert "forgot 2 sessions of 198.51.100.7" in said(app)


@pytest.mark.asyncio
async def test_clearing_the_only_session_of_a_client_forgets_the_client() -> None:
    api = ManySessions(3)
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "c")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "y")
        assert api.changes == [("clear", "10.0.0.1", None)]


@pytest.mark.asyncio
async def test_moving_offers_the_servers_of_the_service_and_begins_at_a_likely_one() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "m", "enter")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "y")
        assert link.api.changes == [("move", "198.51.100.7", "always-on-vpn/rras-1")]


@pytest.mark.asyncio
async def test_a_refused_move_is_told_and_changes_nothing() -> None:
    class Refusing(FakeEngine):
        def preview_move(self, client: str, server: str) -> Any:
            raise Refused("invalid", f"{server} takes no new sessions: down")

    api = Refusing()
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "m", "end", "enter")
        assert "rras-3 takes no new sessions: down" in said(app)
        assert api.changes == []


@pytest.mark.asyncio
async def test_p_pins_and_unpins() -> None:
    api = ManySessions(2)
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "p", "y")
        assert api.changes == [("pin", "10.0.0.1", "always-on-vpn/rras-2")]
        api.rows[1] = msgspec.structs.replace(api.rows[1], pinned=True)
        await look(pilot)
        await press(pilot, "p", "y")
        assert api.changes[1:] == [("unpin", "10.0.0.1")]


@pytest.mark.asyncio
async def test_y_copies_what_a_ticket_needs_and_says_it() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "y")
        copied = "198.51.100.7:4500 on always-on-vpn/rras-2 spi 4f2a91c0aa01d3e7/91b2c00d77aa0e51"
        assert app.clipboard == copied
        assert copied in said(app)


@pytest.mark.asyncio
async def test_export_writes_what_is_filtered_and_asks_before_replacing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    app = console(FakeLink(ManySessions(10)))

    async def export_to(pilot: Pilot[Any], name: str) -> None:
        await press(pilot, "w")
        app.screen.query_one(Input).value = name
        await press(pilot, "enter")

    async with app.run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        place.show_filter("server:rras-1")
        await settle(pilot)
        await export_to(pilot, "~/list.csv")
        await app.workers.wait_for_complete()
        assert len((tmp_path / "list.csv").read_text().splitlines()) == 1 + 5
        assert f"5 sessions in {tmp_path}/list.csv" in said(app)
        (tmp_path / "list.csv").write_text("precious")
        await export_to(pilot, "~/list.csv")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "escape")
        assert (tmp_path / "list.csv").read_text() == "precious"
        await export_to(pilot, "~/missing/list.csv")
        assert "there is no directory" in str(app.screen.query_one(".dialog-problem", Static).content)


@pytest.mark.asyncio
async def test_where_one_may_only_look_no_change_is_offered() -> None:
    link = FakeLink(may_change=False)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        before = app.screen
        await press(pilot, "c", "m", "p")
        assert app.screen is before
        assert link.api.changes == []


@pytest.mark.asyncio
async def test_a_lost_engine_greys_the_rows_and_scrolling_fails_quietly() -> None:
    link = FakeLink(ManySessions(5000))
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        place = await to_sessions(pilot)
        link.broken = "no engine answers"
        await press(pilot, "G")
        await settle(pilot)
        assert app.lost is not None
        assert place.has_class("stale")
        link.broken = ""
        await look(pilot)
        assert app.lost is None
        assert clients(place)[-1:] == expected(range(5000, 5001))


@pytest.mark.asyncio
async def test_leaving_while_the_engine_takes_its_time_is_no_error() -> None:
    api = ManySessions(5000)
    app = console(FakeLink(api))
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        api.held = asyncio.Event()
        await pilot.press("G")
        await pilot.press("1")
        api.held.set()
        await settle(pilot)
        assert app.root == "overview"
        api.held = asyncio.Event()
        await pilot.press("2", "G")
    assert app._exception is None


@pytest.mark.asyncio
async def test_enter_opens_the_session() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await to_sessions(pilot)
        await press(pilot, "enter")
        assert isinstance(app.screen, Session)
        assert app.crumbs == ["sessions", "198.51.100.7:4500"]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_the_list(
    snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["2", "down"], link=FakeLink(ManySessions(1204)))


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_picture_of_the_filter(
    snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    keys = ["2", "slash", *"phase:es"]
    assert picture(snap_compare, monkeypatch, size, theme, keys, link=FakeLink(ManySessions(1204)))


@pytest.mark.parametrize(("size", "theme"), LOOKS)
@pytest.mark.parametrize("key", ["c", "m"])
def test_picture_of_a_dialog(
    snap_compare: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str, key: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["2", key])
