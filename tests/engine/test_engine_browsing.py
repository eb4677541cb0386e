"""Windows of the session table: fresh when asked for, else from an order made a moment ago."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio

from engine.browsing import Browser
from engine.control.records import SessionPage, SessionQuery
from engine.sessions import query as conditions
from engine.sessions.query import BadQuery
from engine.sessions.table import ENDINGS_KEPT
from tests.engine.sessions.session_world import World

pytestmark = pytest.mark.trio


@pytest.fixture
def world() -> World:
    """Nine sessions, one a second, on two servers in turn."""
    world = World(max_sessions=20_000)
    for number in range(1, 10):
        begin(world, number)
    return world


def begin(world: World, number: int, server: str = "") -> None:
    world.now_s += 1
    world.table.open(
        world.service, world.server(server or "ab"[number % 2]), f"198.51.100.{number % 250}", "test", world.now_s
    )


async def ask(browser: Browser, **query: Any) -> SessionPage:
    return await browser.page(SessionQuery(descending=True, **query))


def ids(page: SessionPage) -> list[int]:
    return [row.id for row in page.rows]


async def test_fields_and_filter_line_must_both_hold(world: World, autojump_clock: trio.testing.MockClock) -> None:
    page = await ask(Browser(world.table), server="b", filter="!198.51.100.3  server:b server:a")
    assert (ids(page), page.matched, page.total) == ([1, 5, 7, 9], 4, 9)
    with pytest.raises(BadQuery, match="phas:auth: there is no key"):
        await ask(Browser(world.table), filter="phas:auth")


async def test_scrolling_uses_the_order_there_is(world: World, autojump_clock: trio.testing.MockClock) -> None:
    """For as long as it may be old; new sessions wait for the next order, ended ones are gone at once."""
    browser = Browser(world.table)
    assert ids(await ask(browser, limit=3)) == [1, 2, 3]
    begin(world, 10)
    world.table.close(world.table.sessions[2])
    world.table.close(world.table.sessions[5])
    page = await ask(browser, offset=1, limit=3, max_age_s=5.0)
    assert (ids(page), page.matched, page.total) == ([3, 4, 6], 7, 8)
    await trio.sleep(4)
    assert ids(await ask(browser, offset=6, limit=9, max_age_s=5.0)) == [9]
    await trio.sleep(2)
    page = await ask(browser, offset=6, limit=9, max_age_s=5.0)
    assert (ids(page), page.matched) == ([9, 10], 8)


async def test_another_question_has_its_own_order(world: World, autojump_clock: trio.testing.MockClock) -> None:
    """The same words with other spaces are the same question; other conditions or another sort are not."""
    browser = Browser(world.table)
    assert (await ask(browser, filter="server:a  phase:init", max_age_s=5.0)).matched == 4
    begin(world, 10)
    assert (await ask(browser, filter=" server:a phase:init", max_age_s=5.0)).matched == 4
    assert (await ask(browser, filter="server:a", max_age_s=5.0)).matched == 5
    assert (await ask(browser, filter="server:a phase:init", sort="idle", max_age_s=5.0)).matched == 5
    assert (await ask(browser, filter="server:a phase:init")).matched == 5


async def test_an_order_keeps_no_ended_session_alive(world: World, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(world.table)
    await ask(browser)
    table = [type(session) for session in world.sessions()]
    before = sum(isinstance(thing, table[0]) for thing in gc.get_objects())
    for session in world.sessions():
        world.table.close(session)
    del session
    gc.collect()
    assert sum(isinstance(thing, table[0]) for thing in gc.get_objects()) <= before - len(table)
    assert (await ask(browser, max_age_s=60.0)).matched == 0


async def test_more_endings_than_are_remembered_ask_for_a_new_order(
    world: World, autojump_clock: trio.testing.MockClock
) -> None:
    browser = Browser(world.table)
    await ask(browser)
    for number in range(ENDINGS_KEPT + 1):
        begin(world, number, "a")
        world.table.close(world.sessions()[-1])
    world.table.close(world.table.sessions[3])
    begin(world, 10)
    page = await ask(browser, max_age_s=60.0)
    assert ids(page) == [1, 2, 4, 5, 6, 7, 8, 9, world.sessions()[-1].number]


async def test_sessions_that_end_while_a_page_is_made_are_not_in_it(
    world: World, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forwarder works on between the slices."""
    monkeypatch.setattr(conditions, "SLICE", 1)

    async def forward() -> None:
        for number in (1, 9):
            await trio.lowlevel.checkpoint()
            world.table.close(world.table.sessions[number])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        page = await ask(Browser(world.table))
    assert (ids(page), page.matched, page.total) == (list(range(2, 9)), 7, 7)
