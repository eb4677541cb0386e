"""The alarms: every one with its remedy, the way to its place, and putting it aside."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from console_pictures import LOOKS, NARROW, console, look, picture, settle
from fake_engine import STATUS, FakeEngine
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.control.status import Alarm, EngineStatus
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.alarms import Alarms
from ikeconsole.screens.sessions import Sessions
from ikeconsole.widgets.alarm_strip import AlarmStrip


def alarm(place: str, **fields: str) -> Alarm:
    return Alarm(
        kind=fields.pop("kind", "server-down"),
        severity="error",
        since_at=STATUS.now_at - 134,
        text=fields.pop("text", "always-on-vpn/rras-3 is down"),
        remedy="see that its IKE service runs",
        place=place,
        **fields,
    )


class AlarmedEngine(FakeEngine):
    """A fake engine with the alarms of the moment."""

    def __init__(self, *alarms: Alarm) -> None:
        super().__init__()
        self.alarms = list(alarms)

    def status(self) -> EngineStatus:
        return msgspec.structs.replace(STATUS, alarms=self.alarms)


def strip(app: ConsoleApp) -> AlarmStrip:
    assert app.place is not None
    return app.place.query_one(AlarmStrip)


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_how_they_look(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["a"])


@pytest.mark.asyncio
async def test_the_strip_shows_the_gravest_and_since_when_and_counts_the_rest() -> None:
    app = console(FakeLink(AlarmedEngine(alarm("server", text="x" * 100), alarm("events", kind="other"))))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        line = str(strip(app).content)
        assert line.startswith(" ▲ xxx")
        assert line.endswith("…   2m14s  a see  1/2 ")
        assert len(line) == 80


@pytest.mark.asyncio
async def test_a_click_on_the_strip_opens_them_as_the_key_does() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await pilot.click(AlarmStrip)
        await settle(pilot)
        assert isinstance(app.screen, Alarms)
        await press(pilot, "escape")
        assert app.crumbs == ["overview"]


@pytest.mark.asyncio
async def test_without_an_alarm_it_says_so() -> None:
    app = console(FakeLink(AlarmedEngine()))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a")
        assert [toast.message for toast in app._notifications] == ["There is no alarm."]
        assert not isinstance(app.screen, Alarms)


@pytest.mark.asyncio
async def test_dismissing_puts_one_aside_and_closes_after_the_last() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a", "j", "x")
        assert isinstance(app.screen, Alarms)
        assert [one.kind for one in app.open_alarms] == ["server-down"]
        assert "1/" not in str(strip(app).content)
        await press(pilot, "x")
        assert not isinstance(app.screen, Alarms)
        assert not strip(app).display
        await look(pilot)
        assert not strip(app).display


@pytest.mark.asyncio
async def test_an_alarm_that_ended_and_came_back_is_shown_again() -> None:
    engine = AlarmedEngine(alarm("server"))
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a", "x")
        assert not strip(app).display
        engine.alarms = [msgspec.structs.replace(engine.alarms[0], since_at=STATUS.now_at)]
        await look(pilot)
        assert strip(app).display


@pytest.mark.asyncio
async def test_while_it_is_open_it_follows_and_the_cursor_stays_on_its_alarm() -> None:
    engine = AlarmedEngine(alarm("server", kind="a"), alarm("server", kind="b"))
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a", "j")
        engine.alarms.insert(0, alarm("server", kind="new"))
        await look(pilot)
        assert isinstance(app.screen, Alarms)
        app.screen.follow()
        listed = app.screen.query_one(OptionList)
        assert (listed.option_count, listed.highlighted) == (3, 2)
        engine.alarms.clear()
        await look(pilot)
        app.screen.follow()
        await pilot.pause()
        assert not isinstance(app.screen, Alarms)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("place", "crumbs"),
    [
        ("server", ["overview", "rras-3"]),
        ("service", ["overview", "always-on-vpn"]),
        ("sessions", ["sessions"]),
        ("events", ["events"]),
        ("unheard-of", ["events"]),
    ],
)
async def test_enter_leads_to_the_place_of_an_alarm(place: str, crumbs: list[str]) -> None:
    app = console(FakeLink(AlarmedEngine(alarm(place, service="always-on-vpn", server="rras-3"))))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a", "enter")
        assert app.crumbs == crumbs


@pytest.mark.asyncio
async def test_an_alarm_about_sessions_leads_to_those_of_its_server() -> None:
    link = FakeLink(AlarmedEngine(alarm("sessions", service="always-on-vpn", server="rras-3")))
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "a", "enter")
        await look(pilot)
        assert isinstance(app.place, Sessions)
        asked = [call.query.filter for call in link.calls if call.method == "sessions"]
        assert asked[-1] == "service:always-on-vpn server:rras-3"
