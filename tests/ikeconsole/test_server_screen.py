"""The page of one real server: what it shows while the server lives, drains, fails and goes, and what its keys do."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from changing_engine import ChangingEngine
from console_pictures import LOOKS, NARROW, console, look, picture, settle
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from engine.control import calls
from engine.control.status import Series
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.weight import Weight
from ikeconsole.looking import Lost
from ikeconsole.screens.server import Server
from ikeconsole.screens.sessions import Sessions
from ikeconsole.widgets.head_line import HeadLine
from ikeconsole.widgets.key_bar import KeyBar

Snap = Callable[..., bool]

PAGES = {
    "up": ["3", "enter"],
    "draining": ["3", "j", "enter"],
    "down": ["3", "j", "j", "enter"],
    "snat": ["3", "end", "enter"],
}


async def at(pilot: Pilot[None], page: str) -> Server:
    """Go to the page of a server."""
    await look(pilot)
    for key in PAGES[page]:
        await pilot.press(key)
        await settle(pilot)
    assert isinstance(pilot.app.screen, Server)
    return pilot.app.screen


def text_of(screen: Server) -> str:
    """What is in sight, its words one space apart."""
    return " ".join(word for strip in screen._compositor.render_strips() for word in strip.text.split())


def dialog_text(pilot: Pilot[None]) -> str:
    return "\n".join(str(line.content) for line in pilot.app.screen.query(".dialog-line").results(Static))


def notified(pilot: Pilot[None]) -> str:
    return "\n".join(f"{note.title}: {note.message}" for note in pilot.app._notifications)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_it_looks_so(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, PAGES["draining"])


@pytest.mark.parametrize(("size", "theme"), LOOKS)
@pytest.mark.parametrize("page", ["up", "down"])
def test_other_servers_look_so(
    snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str, page: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, PAGES[page])


def test_a_lost_engine_looks_so(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink()

    async def lose(pilot: Pilot[Any]) -> None:
        link.broken = "no engine answers"
        assert isinstance(pilot.app, ConsoleApp)
        pilot.app.lost = Lost(monotonic() + 3600, link.broken)  # so that its age stays 0s
        await look(pilot)

    assert picture(snap_compare, monkeypatch, NARROW, "night", PAGES["up"], link=link, then=lose)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("up", ["10.0.0.11", "● up", "603, 1 half-open", "at most 1 500", "oldest 7h52m", "answers IKE", "210Mb/s"]),
        ("draining", ["◐ drain", "is empty in about", "(oldest 7 h 52 m)"]),
        (
            "down",
            ["○ down", "down 2m14s since 12:02:17: no answer to IKE probe, ping answers", "1 change in 5 minutes"],
        ),
        ("snat", ["2001:db8:10::21", "10.0.9.1 80, 10.0.9.2 8"]),
    ],
)
async def test_what_matters_is_in_sight_on_a_small_terminal(page: str, said: list[str]) -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        shown = text_of(await at(pilot, page))
        assert [words for words in said if words not in shown] == []
        assert "60m" in shown


@pytest.mark.asyncio
async def test_the_history_tells_changes_and_counts_like_probes() -> None:
    app = console()
    async with app.run_test(size=(160, 48)) as pilot:
        shown = text_of(await at(pilot, "down"))
        assert "12:02:17 ○ down after 1d0h up: no answer to IKE probe, ping answers" in shown
        assert "12:04:22 ○ failed 28× since 12:02:07" in shown
        assert "12:02:02 ● ok 10× since 12:01:17: answers IKE" in shown


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("page", "key", "asked", "state"),
    [
        ("up", "d", "603 sessions stay until they end", "drain"),
        ("up", "x", "603 sessions end at once", "disabled"),
        ("draining", "e", "rras-2 takes new sessions at once", "enabled"),
    ],
)
async def test_a_change_of_state_is_explained_and_made_only_when_confirmed(
    page: str, key: str, asked: str, state: str
) -> None:
    link = FakeLink(ChangingEngine())
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, page)
        for answer, changes in (("escape", 0), ("enter", 0), ("y", 1)):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, Confirm)
            assert asked in dialog_text(pilot)
            await pilot.press(answer)
            await pilot.pause()
            assert app.screen_stack[-1] is screen
            assert len(link.api.changes) == changes
        name = "rras-1" if page == "up" else "rras-2"
        assert link.api.changes == [("set_server", "always-on-vpn", name, state, None, "tester")]
        assert f"{name} is now {state}" in notified(pilot)


@pytest.mark.asyncio
async def test_a_weight_is_asked_for_explained_and_set() -> None:
    link = FakeLink(ChangingEngine())
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, "up")
        await pilot.press("w")
        await pilot.pause()
        assert isinstance(app.screen, Weight)
        app.screen.query_one(Input).value = "50"
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        assert "No session moves" in dialog_text(pilot)
        assert link.api.changes == []
        app.screen.query_one("#accept", Button).press()
        await pilot.pause()
        await look(pilot)
        assert link.api.changes == [("set_server", "always-on-vpn", "rras-1", None, 50, "tester")]
        assert "weight 50 " in text_of(screen)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("up", "probe of rras-1: answers IKE in 3.0ms"),
        ("down", "probe of rras-3: no answer to IKE probe, ping answers"),
    ],
)
async def test_a_probe_is_made_at_once_and_says_what_it_found(page: str, said: str) -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await at(pilot, page)
        await pilot.press("b")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert said in notified(pilot)
        assert [change[0] for change in link.api.changes] == ["probe_now"]


@pytest.mark.asyncio
async def test_it_offers_only_what_would_change_something_and_nothing_where_one_may_only_look() -> None:
    for may_change in (True, False):
        app = console(FakeLink(may_change=may_change))
        async with app.run_test(size=NARROW) as pilot:
            screen = await at(pilot, "draining")
            footer = str(screen.query_one(KeyBar).content)
            assert ("enable" in footer, "drain" in footer, "weight" in footer) == (may_change, False, may_change)
            assert "sessions" in footer
            await pilot.press("d" if may_change else "e")
            await pilot.pause()
            assert app.screen is screen


@pytest.mark.asyncio
async def test_enter_goes_to_its_sessions() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await at(pilot, "draining")
        await pilot.press("enter")
        await settle(pilot)
        await look(pilot)
        assert isinstance(app.screen, Sessions)
        asked = [call for call in link.calls if isinstance(call, calls.ListSessions)]
        assert asked[-1].query.filter == "server:rras-2 service:always-on-vpn"


@pytest.mark.asyncio
async def test_a_drain_made_here_or_elsewhere_is_shown_at_the_next_look() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, "up")
        assert "is empty in about" not in text_of(screen)
        engine.change("always-on-vpn", "rras-1", admin_state="drain")
        await look(pilot)
        assert "is empty in about" in text_of(screen)
        assert "◐ drain" in str(screen.query_one(HeadLine).content)
        assert (screen.offers("drain"), screen.offers("enable")) == (False, True)
        engine.change("always-on-vpn", "rras-1", sessions=0, half_open=0)
        await look(pilot)
        assert "It is empty" in text_of(screen)


@pytest.mark.asyncio
@pytest.mark.parametrize(("points", "span"), [(12, "5m"), (61, "15m"), (720, "60m")])
async def test_a_young_server_is_plotted_over_a_shorter_time(points: int, span: str) -> None:
    class Young(ChangingEngine):
        def series(self, wanted: int, service: str | None, server: str | None) -> list[Series]:
            return super().series(min(points, wanted), service, server)

    app = console(FakeLink(Young()))
    async with app.run_test(size=NARROW) as pilot:
        assert f"└{span}" in text_of(await at(pilot, "up"))


@pytest.mark.asyncio
async def test_slow_start_and_the_load_that_the_agent_tells_are_shown_while_there_are_any() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, "up")
        assert "slow start" not in text_of(screen)
        assert "its agent says" not in text_of(screen)
        engine.change("always-on-vpn", "rras-1", eased=0.4, agent_load=37)
        await look(pilot)
        assert "slow start: 40 % of its weight counts so far" in text_of(screen)
        assert "37 of 100, its agent says" in text_of(screen)


@pytest.mark.asyncio
async def test_a_server_that_was_removed_is_said_to_be_gone_until_it_comes_back() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, "up")
        before = engine.now
        engine.remove("always-on-vpn", "rras-1")
        engine.pass_time(12)
        await look(pilot)
        head = str(screen.query_one(HeadLine).content)
        assert "not in the configuration: this was so 12s ago. Esc goes back" in head
        assert "603, 1 half-open" in text_of(screen)
        await pilot.press("d", "w", "b", "enter")
        await settle(pilot)
        assert app.screen is screen
        assert engine.changes == []
        engine.now = before
        await look(pilot)
        assert "● up" in str(screen.query_one(HeadLine).content)
        assert screen.offers("drain")
        await pilot.press("escape")
        await settle(pilot)
        assert app.crumbs == ["servers"]


@pytest.mark.asyncio
async def test_a_server_that_never_was_is_said_to_be_gone() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await app.push_screen(Server("always-on-vpn", "rras-9"))
        await settle(pilot)
        await look(pilot)
        assert "not in the configuration. Esc goes back" in str(app.screen.query_one(HeadLine).content)


@pytest.mark.asyncio
async def test_a_lost_engine_leaves_the_page_as_it_was() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        screen = await at(pilot, "up")
        link.broken = "no engine answers"
        await look(pilot)
        assert screen.has_class("stale")
        assert "603, 1 half-open" in text_of(screen)
        await pilot.press("d")
        await pilot.pause()
        assert app.screen is screen
        assert "no engine answers" in notified(pilot)


@pytest.mark.asyncio
async def test_the_hour_is_fetched_every_ten_seconds_not_at_every_look() -> None:
    engine = ChangingEngine()
    link = FakeLink(engine)
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await at(pilot, "up")

        def times() -> int:
            return sum(isinstance(call, calls.GetSeries) and call.server == "rras-1" for call in link.calls)

        assert times() == 1
        engine.pass_time(9)
        await look(pilot)
        assert times() == 1
        engine.pass_time(2)
        await look(pilot)
        assert times() == 2
