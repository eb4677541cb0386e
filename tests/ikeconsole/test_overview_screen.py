"""The overview: every service and server with what is wrong, and what can be done to the selected one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from console_pictures import LOOKS, NARROW, WIDE, console, look, picture, settle
from fake_engine import ALWAYS_ON, RRAS_1, RRAS_3, STATUS, FakeEngine
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.control.api import Refused
from engine.control.status import EngineStatus, Series
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.weight import Weight
from ikeconsole.screens.overview import Overview
from ikeconsole.screens.overview_rows import OverviewRow
from ikeconsole.widgets.fact_sheet import FactSheet
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.trend_sheet import TrendSheet


class ChangingEngine(FakeEngine):
    """A fake engine that shows another state when told to."""

    def __init__(self, shown: EngineStatus = STATUS) -> None:
        super().__init__()
        self.shown = shown

    def status(self) -> EngineStatus:
        return self.shown


def grid(app: ConsoleApp) -> Grid[OverviewRow]:
    assert isinstance(app.screen, Overview)
    return app.screen.grid


def drawn(app: ConsoleApp) -> list[str]:
    """The lines of the grid."""
    table = grid(app)
    return [table.render_line(y).text.rstrip() for y in range(table.size.height)]


def told(app: ConsoleApp, sheet: str) -> str:
    return str(app.screen.query_one(f"#{sheet}", FactSheet).content)


def lately(app: ConsoleApp) -> list[str]:
    """The lines that tell how the selected row went."""
    sheet = app.screen.query_one(TrendSheet)
    return [line.rstrip() for line in str(sheet.content).splitlines()] if sheet.display else []


def toasts(app: ConsoleApp) -> list[str]:
    return [f"{toast.title}: {toast.message}" for toast in app._notifications]


def offered(app: ConsoleApp) -> set[str]:
    return {
        active.binding.action
        for active in app.screen.active_bindings.values()
        if active.enabled and active.binding.action in {"enable", "drain", "disable", "weight", "probe"}
    }


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_how_it_looks(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, ["j", "j", "j"])


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_how_an_empty_one_looks(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    empty = ChangingEngine(msgspec.structs.replace(STATUS, services=[], alarms=[]))
    assert picture(snap_compare, monkeypatch, size, "night", link=FakeLink(empty))


@pytest.mark.asyncio
async def test_on_80_columns_there_is_all_that_is_needed_at_night() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert drawn(app)[:7] == [
            "SERVICE / SERVER  STATE       SESS HALF NEW/s IN b/s OUT b/s SHARE    SESS 5 MIN",
            "always-on-vpn     ▲ degraded  1204    3   2.1   412M    1.1G          ▆▇▇▇▆▅▅▅▇▇",
            "├ rras-1          ● up         603    1   2.1   210M    560M ████|    ▆▇▇▇▆▅▅▅▇▇",
            "├ rras-2          ◐ drain      601    2     0   202M    540M ████|    ▆▇▇▇▆▅▅▅▇▇",
            "└ rras-3          ○ down         0    0     0      0       0          ▁▁▁▁▁▁▁▁▁▁",
            "partners          ● up          88    0   0.1    12M     30M          ▆▇▇▇▆▅▅▅▇▇",
            "└ sswan-1         ● up          88    0   0.1    12M     30M ███████| ▆▇▇▇▆▅▅▅▇▇",
        ]


@pytest.mark.asyncio
async def test_every_column_stays_in_sight_when_services_need_a_scroll_bar() -> None:
    many = [msgspec.structs.replace(ALWAYS_ON, name=f"vpn-{number}") for number in range(20)]
    app = console(FakeLink(ChangingEngine(msgspec.structs.replace(STATUS, services=many))))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert drawn(app)[0].endswith("SESS 5 MIN")
        await press(pilot, "G")
        assert drawn(app)[-1].startswith("└ rras-3")
        assert "rras-3 10.0.0.13" in told(app, "details")


@pytest.mark.asyncio
async def test_before_the_first_answer_it_says_that_it_asks() -> None:
    link = FakeLink()
    link.broken = "no engine answers"
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert "asking the engine…" in drawn(app)[2]
        link.broken = ""
        await look(pilot)
        assert "asking the engine…" not in "".join(drawn(app))


@pytest.mark.asyncio
async def test_with_no_service_it_says_how_to_make_one() -> None:
    empty = ChangingEngine(msgspec.structs.replace(STATUS, services=[], alarms=[]))
    app = console(FakeLink(empty))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert drawn(app)[2] == "No service yet: press 4 then n to add one, or edit config.toml and press r."
        assert offered(app) == set()
        await press(pilot, "enter", "d", "b")
        assert toasts(app) == []


@pytest.mark.asyncio
async def test_the_selected_row_and_the_engine_are_described() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert told(app, "details").splitlines() == [
            "always-on-vpn 203.0.113.10 500+4500 following   source transparent",
            "scheduler weighted-least-connections   dropped 12 no-server, 3 malformed",
            "persistence source-address 30m, 1 311 records   servers 2 of 3 take sessions",
        ]
        await press(pilot, "j", "j", "j")
        assert "health down 2m14s since 12:02:17: no answer to IKE probe, ping answers" in told(app, "details")
        await press(pilot, "j", "j")
        assert "sources 10.0.9.1 80, 10.0.9.2 8" in told(app, "details")
        assert told(app, "engine").splitlines() == [
            "table 0.6 %   persistence 1 311   sockets 2.2 %   memory 71MB",
            "fast path off: libbpf.so.1 was not found",
        ]


@pytest.mark.asyncio
async def test_it_tells_how_the_selected_row_went_with_its_present_and_highest_values() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot)
        assert [line[:32].split() for line in lately(app)] == [
            ["now", "most"],
            ["sessions", "1", "204", "1", "204"],
            ["new/s", "2.1", "2.1"],
            ["in", "b/s", "412M", "412M"],
            ["out", "b/s", "1.1G", "1.1G"],
            ["packets/s", "216k", "216k"],
        ]
        assert all(len(line) == 32 + 60 for line in lately(app)[1:])
        await press(pilot, "j", "j", "j")
        assert [line[16:] for line in lately(app)[1:]] == [f"     0       0  {'▁' * 60}"] * 5


@pytest.mark.asyncio
async def test_what_is_not_known_yet_is_no_course() -> None:
    class Forgetful(FakeEngine):
        def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
            return []

    app = console(FakeLink(Forgetful()))
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot)
        assert lately(app)[1] == "sessions         1 204       -"


@pytest.mark.asyncio
async def test_on_a_low_screen_no_row_goes_for_how_another_went() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert len(lately(app)) == TrendSheet.LINES
        assert len(drawn(app)) >= 1 + 6
        engine.shown = msgspec.structs.replace(STATUS, services=[ALWAYS_ON, *STATUS.services, *STATUS.services])
        await look(pilot)
        assert lately(app) == []
        await pilot.resize_terminal(80, 48)
        await settle(pilot)
        assert len(lately(app)) == TrendSheet.LINES
        await pilot.resize_terminal(*NARROW)
        await settle(pilot)
        assert lately(app) == []
        engine.shown = STATUS
        await look(pilot)
        assert len(lately(app)) == TrendSheet.LINES


@pytest.mark.asyncio
async def test_control_characters_of_names_and_reasons_are_not_obeyed() -> None:
    broken = msgspec.structs.replace(RRAS_1, name="rras\x1b[2J", health_reason="[b]\x07")
    engine = ChangingEngine(
        msgspec.structs.replace(STATUS, services=[msgspec.structs.replace(ALWAYS_ON, servers=[broken])])
    )
    app = console(FakeLink(engine))
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot)
        await press(pilot, "j")
        assert "rras�[2J" in drawn(app)[2]
        assert "\x1b" not in told(app, "details")
        assert "[b]�" in told(app, "details")


@pytest.mark.asyncio
async def test_a_changed_state_is_marked_until_the_next_refresh() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        recovered = msgspec.structs.replace(RRAS_3, health="up")
        service = msgspec.structs.replace(ALWAYS_ON, servers=[*ALWAYS_ON.servers[:2], recovered])
        engine.shown = msgspec.structs.replace(STATUS, services=[service, *STATUS.services[1:]])
        await look(pilot)
        marked = {
            segment.text.strip()
            for segment in grid(app).render_line(4)
            if segment.style is not None and segment.style.reverse
        }
        assert marked == {"● up"}
        await look(pilot)
        assert not any(segment.style and segment.style.reverse for segment in grid(app).render_line(4))


@pytest.mark.asyncio
async def test_what_is_offered_fits_the_selected_row() -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        assert offered(app) == set()
        await press(pilot, "j")
        assert offered(app) == {"drain", "disable", "weight", "probe"}
        await press(pilot, "j")
        assert offered(app) == {"enable", "disable", "weight", "probe"}


@pytest.mark.asyncio
@pytest.mark.parametrize(("row", "crumb"), [(0, "always-on-vpn"), (3, "rras-3")])
async def test_enter_opens_the_settings_of_a_service_or_the_page_of_a_server(row: int, crumb: str) -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, *["j"] * row, "enter")
        assert app.crumbs == ["overview", crumb]
        await press(pilot, "escape")
        assert app.crumbs == ["overview"]


@pytest.mark.asyncio
async def test_where_one_may_only_look_no_change_is_offered() -> None:
    app = console(FakeLink(may_change=False))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j", "d")
        assert offered(app) == set()
        assert isinstance(app.screen, Overview)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("row", "key", "state", "title"),
    [(1, "d", "drain", "Drain rras-1"), (1, "x", "disabled", "Disable rras-1"), (2, "e", "enabled", "Enable rras-2")],
)
async def test_a_change_of_state_is_previewed_and_made_after_yes(row: int, key: str, state: str, title: str) -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, *["j"] * row, key)
        assert isinstance(app.screen, Confirm)
        assert app.screen.query_one(".dialog").border_title == title
        assert len(app.screen.query(".dialog-line")) >= 1
        assert link.api.changes == []
        await press(pilot, "y")
        assert link.api.changes == [("set_server", "always-on-vpn", title.split()[1], state, None, "tester")]
        assert toasts(app)[0].startswith("done: ")


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_no_and_escape_and_the_first_button_change_nothing(key: str) -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j", "d", key)
        assert isinstance(app.screen, Overview)
        assert link.api.changes == []


@pytest.mark.asyncio
async def test_a_weight_is_checked_while_it_is_typed_then_previewed_and_set() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j", "w")
        assert isinstance(app.screen, Weight)
        app.screen.query_one(Input).value = ""
        await press(pilot, *"70000", "enter")
        assert isinstance(app.screen, Weight)
        assert str(app.screen.query_one("#weight-problem", Static).content) == "Write a number from 0 to 65535."
        app.screen.query_one(Input).value = ""
        await press(pilot, *"50", "enter")
        assert isinstance(app.screen, Confirm)
        assert app.screen.query_one(".dialog").border_title == "Weight of rras-1: 100 → 50"
        await press(pilot, "y")
        assert link.api.changes == [("set_server", "always-on-vpn", "rras-1", None, 50, "tester")]


@pytest.mark.asyncio
async def test_the_weight_it_has_asks_nothing_more() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j", "w", "enter")
        assert isinstance(app.screen, Overview)
        assert link.api.changes == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("row", "toast"),
    [
        (1, "probe of rras-1: answers IKE in 3.0ms"),
        (3, "probe of rras-3: no answer to IKE probe, ping answers"),
    ],
)
async def test_a_probe_tells_what_it_found(row: int, toast: str) -> None:
    app = console()
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, *["j"] * row, "b")
        assert toasts(app) == [toast]


@pytest.mark.asyncio
async def test_a_refusal_is_told_and_nothing_is_asked() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j")
        link.api.failure = Refused("conflict", "config.toml was changed: reload first")
        await press(pilot, "d")
        assert isinstance(app.screen, Overview)
        assert toasts(app) == ["Drain: not possible: config.toml was changed: reload first"]


@pytest.mark.asyncio
async def test_when_the_engine_is_lost_what_was_known_stays_and_is_grey() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        link.broken = "no engine answers"
        await look(pilot)
        assert drawn(app)[2].startswith("├ rras-1")
        colours = {segment.style.color for segment in grid(app).render_line(3) if segment.style}
        assert len(colours) == 1
        await press(pilot, "j", "b")
        assert toasts(app) == ["Probe: not done: no engine answers"]


@pytest.mark.asyncio
async def test_the_cursor_stays_on_its_server_when_services_are_added_above() -> None:
    engine = ChangingEngine()
    app = console(FakeLink(engine))
    async with app.run_test(size=NARROW) as pilot:
        await look(pilot)
        await press(pilot, "j", "j")
        first = msgspec.structs.replace(ALWAYS_ON, name="another")
        engine.shown = msgspec.structs.replace(STATUS, services=[first, *STATUS.services])
        await look(pilot)
        selected = grid(app).selected
        assert selected is not None
        assert selected.key == ("always-on-vpn", "rras-2")
