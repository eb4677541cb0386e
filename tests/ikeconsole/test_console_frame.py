"""What every place of the console has: bars, banner, refreshing, places."""

from __future__ import annotations

import msgspec
import pytest
from console_pictures import console, look, settle
from fake_engine import STATUS, FakeEngine
from fake_link import FakeLink

from ikeconsole.widgets.lost_banner import LostBanner
from ikeconsole.widgets.top_bar import TopBar


@pytest.mark.asyncio
async def test_number_keys_lead_to_the_five_places() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        for key, name in enumerate(("overview", "sessions", "servers", "services", "events"), 1):
            await pilot.press(str(key))
            await settle(pilot)
            assert app.root == name
            assert app.crumbs == [name]


@pytest.mark.asyncio
@pytest.mark.parametrize(("width", "counts"), [(80, "1 200 sessions  "), (160, "1 200 sessions, 92 idle  ")])
async def test_idle_sessions_are_counted_apart_where_there_is_room(width: int, counts: str) -> None:
    engine = FakeEngine()
    engine.status = lambda: msgspec.structs.replace(STATUS, idle=92)  # type: ignore[method-assign]
    app = console(FakeLink(engine))
    async with app.run_test(size=(width, 24)) as pilot:
        await look(pilot)
        assert counts in str(app.screen.query_one(TopBar).content)


@pytest.mark.asyncio
async def test_a_lost_engine_is_said_and_what_is_shown_stays_until_it_answers_again() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        link.broken = "no engine answers"
        await look(pilot)
        banner = app.screen.query_one(LostBanner)
        assert banner.display
        assert "no engine answers" in str(banner.content)
        assert app.screen.has_class("stale")
        assert "1 292 sessions" in str(app.screen.query_one(TopBar).content)
        link.broken = ""
        await look(pilot)
        assert not banner.display
        assert not app.screen.has_class("stale")
