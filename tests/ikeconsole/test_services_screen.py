"""Services are edited in forms: what is typed, what is wrong, what it would do, and what others did meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from console_pictures import LOOKS, console, look, picture, settle
from fake_engine import SETTINGS, FakeEngine, loaded
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.control.api import Refused
from engine.control.calls import Apply, MakePlan
from engine.control.records import Plan
from engine.control.status import EngineStatus
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.conflict import Conflict
from ikeconsole.dialogs.plan import ShowPlan
from ikeconsole.dialogs.reload import ShowReload
from ikeconsole.screens.engine_settings import EngineSettings
from ikeconsole.screens.form import Form
from ikeconsole.screens.real_server_settings import RealServerSettings
from ikeconsole.screens.service import Service
from ikeconsole.screens.services import Services
from ikeconsole.widgets.field_row import FieldRow

FORM = ("4", "enter")
NEW_SERVER = (*FORM, "pagedown", "n")
IKE_PORT = (*FORM, "down", "down")


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)
    await pilot.pause()


async def write(pilot: Pilot[Any], text: str) -> None:
    await press(pilot, *("full_stop" if letter == "." else "minus" if letter == "-" else letter for letter in text))


def form(app: ConsoleApp) -> Form:
    assert isinstance(app.screen, Form)
    return app.screen


def words(app: ConsoleApp, selector: str) -> str:
    return "\n".join(str(widget.render()) for widget in app.screen.query(selector) if widget.display)


def toasts(app: ConsoleApp) -> list[str]:
    return [toast.message for toast in app._notifications]


def others_change(api: FakeEngine, change: Callable[[list[dict[str, Any]]], object]) -> None:
    tables = deepcopy(SETTINGS)
    change(tables["service"])
    api.loaded = loaded(tables)


def calls(link: FakeLink, kind: type) -> list[Any]:
    return [call for call in link.calls if isinstance(call, kind)]


@pytest.mark.asyncio
async def test_a_new_server_is_typed_in_planned_and_applied() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *NEW_SERVER)
        assert isinstance(app.screen, RealServerSettings)
        await write(pilot, "rras-4")
        await press(pilot, "tab")
        await write(pilot, "10.0.0.14")
        assert not app.screen.query(FieldRow).filter(".wrong")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, ShowPlan)
        assert "+ always-on-vpn/rras-4 10.0.0.14 weight 100" in words(app, ".plan-change")
        assert "No session moves." in words(app, ".plan-effect")
        assert app.focused is not None
        assert app.focused.id == "cancel"
        await press(pilot, "tab", "enter")
        assert isinstance(app.screen, Services)
        assert link.api.loaded.config.services[0].real_servers[-1].name == "rras-4"
        assert any("rras-4" in toast for toast in toasts(app))


@pytest.mark.asyncio
async def test_a_plan_that_is_cancelled_changes_nothing_and_leads_back_to_the_form() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7", "ctrl+s", "enter")
        assert form(app).unsaved
        assert not calls(link, Apply)


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "applied"), [("y", 1), ("n", 0)])
async def test_a_plan_is_answered_with_y_and_n_as_any_question(key: str, applied: int) -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7", "ctrl+s")
        assert isinstance(app.screen, ShowPlan)
        await press(pilot, key)
        assert not isinstance(app.screen, ShowPlan)
        assert len(calls(link, Apply)) == applied


@pytest.mark.asyncio
async def test_applying_leads_to_the_real_server_with_the_problem() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *FORM, "pagedown", "down", "enter", "tab")
        await press(pilot, "backspace", "x", "escape", "home", "pageup", "ctrl+s")
        assert isinstance(app.screen, Service)
        assert app.focused is app.screen.grid
        assert app.screen.grid.cursor == 1
        assert app.screen.grid.selected is not None
        assert app.screen.grid.selected.wrong
        assert not calls(link, MakePlan)
        assert "real_server.rras-2.address: " in toasts(app)[-1]


@pytest.mark.asyncio
async def test_only_a_default_is_called_so() -> None:
    app = console(FakeLink())
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *FORM)
        rows = {row.field.label: row for row in app.screen.query(FieldRow)}
        scheduler = rows["scheduler"].query_one(".note", Static)
        assert str(scheduler.render()) == "default"
        await press(pilot, *["down"] * 7, "right")
        assert str(scheduler.render()) == ""


@pytest.mark.asyncio
async def test_a_wrong_value_is_told_as_it_is_typed_in_the_words_of_check_and_is_not_sent() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "x")
        assert 'must be a whole number from 1 to 65535, not "x"' in words(app, "FieldRow .problem")
        await press(pilot, "backspace", "4", "5", "0", "0")
        assert "is 4500 as ike_port is: the two need different ports" in words(app, "FieldRow .problem")
        await press(pilot, "ctrl+s")
        assert not calls(link, MakePlan)
        assert toasts(app) == ["There is a problem to put right first."]


@pytest.mark.asyncio
async def test_a_clash_with_another_service_is_told_at_the_field_and_what_is_wrong_elsewhere_above_the_form() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4", "c", "t", "down")
        await write(pilot, "203.0.113.10")
        clash = "203.0.113.10:500 is already service.always-on-vpn.ike_port: change address or port of one"
        assert clash in words(app, "FieldRow .problem")
        await press(pilot, *["backspace"] * 12, "colon", "colon", "1")
        elsewhere = "service.t.real_server.rras-1.address: 10.0.0.11 is IPv4 and the service's address ::1 is not"
        assert elsewhere in words(app, "#form-notice")


@pytest.mark.asyncio
async def test_leaving_asks_about_what_was_edited_and_going_elsewhere_keeps_it() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *FORM, "pagedown")
        await press(pilot, "D", "1")
        assert app.root == "overview"
        await press(pilot, "q", "n", "4")
        assert form(app).unsaved
        await press(pilot, "escape", "n")
        assert form(app).unsaved
        await press(pilot, "escape", "y")
        assert isinstance(app.screen, Services)


@pytest.mark.asyncio
async def test_a_clone_needs_a_name_and_address_of_its_own() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4", "c")
        assert words(app, "FieldRow .problem").count("is missing") == 2
        await write(pilot, "twin")
        await press(pilot, "down")
        await write(pilot, "203.0.113.20")
        await press(pilot, "ctrl+s", "tab", "enter")
        first, _, twin = link.api.loaded.config.services
        assert (twin.name, twin.real_servers, twin.health) == ("twin", first.real_servers, first.health)


@pytest.mark.asyncio
async def test_removing_a_service_says_first_how_many_sessions_end() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4", "D")
        assert "always-on-vpn is removed: its 1 204 sessions end" in words(app, ".plan-effect.grave")
        await press(pilot, "tab", "enter")
        assert [service.name for service in link.api.loaded.config.services] == ["partners"]


@pytest.mark.asyncio
async def test_the_settings_of_the_engine_have_a_form_too() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4", "E", "down", "down", "down", "o", "ctrl+s", "tab", "enter")
        assert not isinstance(app.screen, EngineSettings)
        assert link.api.loaded.config.engine.fast_path == "off"


@pytest.mark.asyncio
async def test_an_untouched_form_follows_what_others_apply() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *FORM)
        others_change(link.api, lambda services: services[0].update(slow_start="2m"))
        await look(pilot)
        assert "2m" in [entry.value for entry in app.screen.query(Input)]
        assert not form(app).unsaved
        others_change(link.api, lambda services: services.pop(0))
        await look(pilot)
        assert isinstance(app.screen, Services)
        assert toasts(app) == ["always-on-vpn is no longer in the configuration."]


@pytest.mark.asyncio
async def test_an_edit_that_others_overtook_says_so_at_once_and_can_be_put_on_top() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7")
        others_change(link.api, lambda services: services[0].update(ike_port=600, slow_start="2m"))
        await look(pilot)
        assert "The configuration was changed meanwhile" in words(app, "#form-notice")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Conflict)
        await press(pilot, "space", "tab", "tab", "tab", "enter")
        assert words(app, "#form-notice") == ""
        await press(pilot, "ctrl+s", "tab", "enter")
        service = link.api.loaded.config.services[0]
        assert (service.ike_port, service.slow_start_s) == (7, 120)


@pytest.mark.asyncio
async def test_in_a_conflict_theirs_stays_unless_the_operator_chooses_otherwise() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7")
        others_change(link.api, lambda services: services[0].update(ike_port=600))
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Conflict)
        await press(pilot, "escape")
        assert form(app).unsaved
        await press(pilot, "ctrl+s", "tab", "tab", "enter")
        assert "600" in [entry.value for entry in app.screen.query(Input)]
        assert not form(app).unsaved
        assert not calls(link, Apply)


class EditedOnDisk(FakeEngine):
    """Its file was edited by hand: nothing is planned until that is reloaded."""

    reloaded = False

    async def plan(self, base: str, tables: dict[str, Any]) -> Plan:
        if not self.reloaded:
            raise Refused("conflict", "the file was changed on disk meanwhile")
        return await super().plan(base, tables)

    async def reload(self, author: str) -> Any:
        self.reloaded = True
        others_change(self, lambda services: services[0].update(slow_start="2m"))
        return await super().reload(author)


@pytest.mark.asyncio
async def test_a_file_that_was_edited_by_hand_is_taken_in_before_anything_is_applied() -> None:
    link = FakeLink(EditedOnDisk())
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7", "ctrl+s")
        assert isinstance(app.screen, ShowReload)
        await press(pilot, "tab", "enter")
        assert isinstance(app.screen, Conflict)
        await press(pilot, "tab", "tab", "enter", "ctrl+s", "tab", "enter")
        service = link.api.loaded.config.services[0]
        assert (service.ike_port, service.slow_start_s) == (7, 120)


@pytest.mark.asyncio
async def test_where_one_may_only_look_the_form_shows_everything_and_changes_nothing() -> None:
    link = FakeLink(may_change=False)
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *FORM, "down", "x", "ctrl+s", "pagedown", "n", "D")
        assert isinstance(app.screen, Service)
        assert not form(app).unsaved
        assert "203.0.113.10" in words(app, "FieldRow .editor")
        assert "slow_start" in words(app, "FieldRow .label")


@pytest.mark.asyncio
async def test_a_refusal_and_a_lost_engine_leave_the_edit_as_it_is() -> None:
    link = FakeLink()
    app = console(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, *IKE_PORT, "7")
        link.broken = "no engine answers"
        await press(pilot, "ctrl+s")
        assert "no engine answers" in toasts(app)
        link.broken, link.api.failure = "", Refused("failed", "the disk is full", ["free some space"])
        await press(pilot, "ctrl+s")
        assert "free some space" in words(app, ".dialog-line")
        await press(pilot, "escape")
        assert form(app).unsaved


class Empty(FakeEngine):
    """Has no service."""

    def status(self) -> EngineStatus:
        return msgspec.structs.replace(super().status(), services=[], alarms=[])


@pytest.mark.asyncio
async def test_without_a_service_the_list_says_how_to_get_one() -> None:
    app = console(FakeLink(Empty()))
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await press(pilot, "4")
        assert isinstance(app.screen, Services)
        assert "press n to add one" in "".join(app.screen.grid.render_line(2).text)
        await press(pilot, "c", "D")
        assert isinstance(app.screen, Services)
        await press(pilot, "n")
        assert isinstance(app.screen, Service)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(("4",), id="list"),
        pytest.param(FORM, id="form"),
        pytest.param((*IKE_PORT, "x"), id="problem"),
        pytest.param(NEW_SERVER, id="real-server"),
        pytest.param((*FORM, *["down"] * 7, "right", "ctrl+s"), id="apply"),
        pytest.param((*FORM, *["down"] * 7, "right", "ctrl+s", "v"), id="difference"),
    ],
)
def test_the_forms_look_as_they_did(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
    keys: tuple[str, ...],
) -> None:
    assert picture(snap_compare, monkeypatch, size, theme, keys)


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_a_conflict_looks_as_it_did(
    snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    link = FakeLink()

    async def conflict(pilot: Pilot[Any]) -> None:
        others_change(link.api, lambda services: services[0].update(ike_port=600, slow_start="2m"))
        await look(pilot)
        await press(pilot, "ctrl+s")

    assert picture(snap_compare, monkeypatch, size, theme, (*IKE_PORT, "7"), link=link, then=conflict)
