"""Settings edited over the control socket: planned without doing anything, then applied in one step."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from running_engine import RunningEngine, refused, service, world

from engine import planning
from engine.config.load import digest_of, parse, read_tables
from engine.config.problems import ConfigError
from engine.config.schema import Config
from engine.control.records import Plan
from engine.planning import summed_up

PATH = Path("config.toml")


def edited(engine: RunningEngine, **keys: Any) -> tuple[str, dict[str, Any]]:
    """The base and the tables of the running configuration, with other keys of its service."""
    had = engine.operations.settings()
    tables = copy.deepcopy(had.tables)
    tables["service"][0] |= keys
    return had.base, tables


async def apply(engine: RunningEngine, base: str, tables: dict[str, Any], summary: str = "") -> str:
    return (await engine.operations.apply(base, tables, summary=summary, author="alice")).done


async def state(engine: RunningEngine) -> tuple[str, str, int]:
    return (await engine.operations.config()).text, engine.path.read_text(), len(await engine.operations.history(100))


@pytest.mark.trio
async def test_settings_are_what_runs_in_the_words_of_the_file(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        had = w.engine.operations.settings()
        assert had.path == str(w.engine.path)
        assert had.base == digest_of(w.engine.path.read_text()) == w.engine.operations.status().config_digest
        assert msgspec.json.decode(msgspec.json.encode(had.tables)) == had.tables
        assert read_tables(had.tables, PATH) == parse(w.engine.path.read_text(), PATH)
        assert had.tables["service"][0]["health"] == {"type": "none"}


@pytest.mark.trio
async def test_a_plan_tells_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        before = await state(w.engine)
        base, tables = edited(w.engine, scheduler="fixed", real_server=edited(w.engine)[1]["service"][0]["real_server"])
        tables["service"][0]["real_server"][0]["state"] = "disabled"
        plan = await w.engine.operations.plan(base, tables)
        assert plan.problems == []
        assert plan.changes == ["vpn scheduler: round-robin → fixed", "vpn/a state: enabled → disabled"]
        assert '-scheduler = "round-robin"\n+scheduler = "fixed"' in plan.difference
        assert (plan.lines_added, plan.lines_removed) == (2, 1)
        assert plan.effect.sessions == 1
        assert plan.effect.lines[0].startswith("1 session on vpn/a ends (disabled)")
        assert await state(w.engine) == before
        assert not w.engine.events("config-refused")


@pytest.mark.trio
async def test_problems_are_named_as_in_a_file(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        base, tables = edited(w.engine, scheduler="guess", adress="x", nat_t_port=10_500)
        tables["service"][0]["real_server"][1]["weight"] = 70_000
        plan = await w.engine.operations.plan(base, tables)
        with pytest.raises(ConfigError) as read:
            parse(tomli_w.dumps(tables), w.engine.path)
        assert [(problem.key, problem.message) for problem in plan.problems] == [
            (problem.key, problem.message) for problem in read.value.problems
        ]
        assert "service.vpn.real_server.b.weight" in [problem.key for problem in plan.problems]
        assert msgspec.structs.replace(plan, problems=[]) == Plan(problems=[])
        before = await state(w.engine)
        with refused("invalid", "not applied; the running configuration stays") as told:
            await apply(w.engine, base, tables)
        assert told.details == read.value.lines()
        assert await state(w.engine) == before


@pytest.mark.trio
async def test_an_applied_change_is_in_force_in_the_file_and_in_history(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        w.engine.path.write_text(f"# ours\n{w.engine.path.read_text()}")
        await w.engine.operations.reload("tester")
        base, tables = edited(w.engine)
        tables["service"][0]["real_server"][0]["state"] = "disabled"
        planned = await w.engine.operations.plan(base, tables)
        change = await w.engine.operations.apply(base, tables, summary="", author="alice")
        assert change.done == "vpn/a state: enabled → disabled; 1 session ends, clients go on elsewhere"
        assert change.sessions == planned.effect.sessions == 1
        assert not await w.engine.sessions(client=client.host)
        assert w.engine.server("a").admin_state == "disabled"
        assert w.engine.path.read_text().startswith("# ours\n")
        assert 'state = "disabled"' in w.engine.path.read_text()
        newest = (await w.engine.operations.history(1))[0]
        assert (newest.author, newest.summary) == ("alice", "vpn/a state: enabled → disabled")
        assert newest.difference.splitlines()[2:] == planned.difference.splitlines()[2:]
        assert w.engine.operations.settings().base != base


@pytest.mark.trio
async def test_the_operators_own_summary_is_kept_in_one_line(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        base, tables = edited(w.engine, scheduler="fixed")
        assert await apply(w.engine, base, tables, "quiet\nnight  shift") == "quiet night shift"


@pytest.mark.trio
async def test_settings_that_change_nothing_are_said_to(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before = await state(w.engine)
        base, tables = edited(w.engine, port_following=True)
        plan = await w.engine.operations.plan(base, tables)
        assert (plan.changes, plan.difference, plan.lines_added) == ([], "", 0)
        assert await apply(w.engine, base, tables) == "nothing to apply: this is what runs already"
        assert await state(w.engine) == before


@pytest.mark.trio
async def test_of_two_who_apply_at_once_the_second_is_told_and_overwrites_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first, second = edited(w.engine, scheduler="fixed"), edited(w.engine, scheduler="maglev")
        outcomes: list[str] = []

        async def second_applies() -> None:
            with refused("conflict", "vpn scheduler: round-robin → fixed (by alice)") as told:
                await apply(w.engine, *second)
            assert '+scheduler = "fixed"' in told.details
            outcomes.append("told")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply, w.engine, *first)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second_applies)
        assert outcomes == ["told"]
        assert w.engine.service().scheduler == "fixed"
        assert 'scheduler = "fixed"' in w.engine.path.read_text()


@pytest.mark.trio
async def test_a_plan_against_what_no_longer_runs_is_a_conflict(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        stale = edited(w.engine, scheduler="fixed")
        await w.engine.operations.set_server("vpn", "a", state="drain", weight=None, author="bob")
        with refused("conflict", "vpn/a: drain (by bob): look at that, then make your change again") as told:
            await w.engine.operations.plan(*stale)
        assert '+state = "drain"' in told.details
        with refused("conflict", "changed meanwhile") as unknown:
            await w.engine.operations.plan("of another engine", stale[1])
        assert unknown.details == []


@pytest.mark.trio
async def test_an_edit_on_disk_is_shown_before_and_never_overwritten(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.edit_on_disk("round-robin", "maglev")
        on_disk = w.engine.path.read_text()
        edit = edited(w.engine, scheduler="fixed")
        for call in (w.engine.operations.plan(*edit), apply(w.engine, *edit)):
            with refused("conflict", "changed on disk meanwhile: `ikeconsole reload` takes") as told:
                await call
            assert '+scheduler = "maglev"' in told.details
        assert w.engine.path.read_text() == on_disk
        assert w.engine.service().scheduler == "round-robin"


@pytest.mark.trio
async def test_a_file_that_is_gone_is_said_before_the_change(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.path.unlink()
        with refused("failed", "the file could not be saved") as told:
            await w.engine.operations.plan(*edited(w.engine, scheduler="fixed"))
        assert "does not exist" in told.details[0]


@pytest.mark.trio
async def test_a_text_that_cannot_be_edited_in_place_is_left_to_an_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(text: str, old: Config, new: Config) -> str:
        raise ValueError

    monkeypatch.setattr(planning, "replace_config", refuse)
    async with world(tmp_path) as w:
        before = await state(w.engine)
        edit = edited(w.engine, scheduler="fixed")
        for call in (w.engine.operations.plan(*edit), apply(w.engine, *edit)):
            with refused("failed", "change it in an editor, then take that in with `ikeconsole reload`") as told:
                await call
            assert told.details == ["vpn scheduler: round-robin → fixed"]
        assert await state(w.engine) == before


@pytest.mark.trio
async def test_a_port_that_cannot_be_had_is_found_when_applying_and_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before = await state(w.engine)
        base, tables = edited(w.engine, address="192.0.2.77")
        tables["service"][0]["source"] = "snat"
        with refused("invalid", "the running configuration stays"):
            await apply(w.engine, base, tables)
        assert await state(w.engine) == before


@pytest.mark.trio
async def test_the_plan_of_undo_is_what_undo_does(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with refused("not-found", "no earlier revision"):
            await w.engine.operations.preview_undo()
        await w.connected()
        await w.engine.reload(service(real_server=[{"name": "a", "address": w.servers["a"].host}]))
        await w.engine.reload(service(real_server=[{"name": "b", "address": w.servers["b"].host}]))
        await w.connected()
        plan = await w.engine.operations.preview_undo()
        assert plan.changes[0].startswith("+ vpn/a")
        assert plan.changes[1].startswith("- vpn/b")
        assert "+++ revision 2" in plan.difference
        change = await w.engine.operations.undo("alice")
        assert change.sessions == plan.effect.sessions == 1
        assert [server.name for server in w.engine.service().servers] == ["a"]


@pytest.mark.trio
async def test_the_forecast_for_a_server_is_made_from_what_runs(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        effect = w.engine.operations.preview_server("vpn", "a", state="disabled", weight=None)
        assert effect.lines == [
            "1 session ends at once; clients reconnect to b.",
            "b would then carry 1 session.",
        ]
        change = await w.engine.operations.set_server("vpn", "a", state="disabled", weight=None, author="alice")
        assert effect.sessions == change.sessions == 1


@pytest.mark.trio
async def test_a_forecast_refuses_what_the_change_would_refuse(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        preview = w.engine.operations.preview_server
        with refused("invalid", "there is no state 'off'"):
            preview("vpn", "a", state="off", weight=None)
        with refused("invalid", "name a state or a weight"):
            preview("vpn", "a", state=None, weight=None)
        with refused("not-found", "there is no service 'x'"):
            preview("x", "a", state="drain", weight=None)
        with refused("invalid", "this cannot be done") as told:
            preview("vpn", "a", state=None, weight=70_000)
        path = w.engine.path
        assert told.details == [
            f"{path}:service.vpn.real_server.a.weight: must be a whole number from 0 to 65535, not 70000"
        ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["engine", "service", "real_server", "name", "address", "weight", "health", "interval", "agent"])


@given(st.dictionaries(keys, st.one_of(json_values, st.lists(st.dictionaries(keys, json_values), max_size=2))))
def test_tables_of_any_content_are_read_or_reported(tables: dict[str, Any]) -> None:
    """A control client may send anything: it is a configuration, or there is a list of problems."""
    with suppress(ConfigError):
        assert isinstance(read_tables(tables, PATH), Config)


def test_many_changes_are_summed_up() -> None:
    assert summed_up("", ["a", "b", "c", "d"]) == "a; b; c; d"
    assert summed_up("", ["a", "b", "c", "d", "e"]) == "a; b; c; 2 more changes"
    assert len(summed_up("x" * 9999, [])) == 200
