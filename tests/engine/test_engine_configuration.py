"""The configuration's file, history and refusals: what fails changes nothing, in the engine or on disk."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
import trio
from running_engine import (
    CLIENT,
    OTHER_CLIENT,
    PARTNERS,
    THIRD_CLIENT,
    VPN,
    RunningEngine,
    Tables,
    real_server,
    refused,
    running,
    service,
    until,
    world,
    write_config,
)
from trio.testing import wait_all_tasks_blocked

from engine import deployment
from engine.config.load import Loaded, load
from engine.sessions.session import Session
from engine.survival.saving import JOURNAL


async def drain(engine: RunningEngine, server: str = "a") -> str:
    change = await engine.operations.set_server("vpn", server, state="drain", weight=None, author="tester")
    return change.done


async def what_runs(engine: RunningEngine) -> str:
    return (await engine.operations.config()).text


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_socket())


@pytest.mark.trio
async def test_an_unchanged_file_is_said_to_be_unchanged(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert (await w.engine.operations.reload("tester")).done == f"{w.engine.path} has not changed"
        assert len(await w.engine.operations.history(10)) == 1


@pytest.mark.trio
async def test_a_reload_is_recorded_and_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert await w.engine.reload(service(scheduler="maglev")) == "reloaded from the file"
        newest, first = await w.engine.operations.history(10)
        assert (newest.number, newest.author, newest.summary) == (2, "tester", "reloaded from the file")
        assert '+scheduler = "maglev"' in newest.difference
        assert (first.number, first.author, first.summary) == (1, "engine", "in force at start")
        assert [event.text for event in w.engine.events("config-applied")] == ["reloaded from the file (by tester)"]
        assert (await w.engine.operations.config()).on_disk_differs is False


@pytest.mark.trio
async def test_what_only_a_restart_can_change_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        done = await w.engine.reload(service(), max_open_sockets=5, max_sessions=7)
        assert done == "reloaded from the file; restart the engine for max_open_sockets"
        assert w.engine.operations.status().max_sessions == 7


INVALID = [
    pytest.param(service(adress=VPN), "service.vpn.adress", id="unknown key"),
    pytest.param(service(address="localhost"), "service.vpn.address", id="no address"),
    pytest.param(service(ike_port=0), "service.vpn.ike_port", id="no port"),
    pytest.param(service(nat_t_port=10_500), "service.vpn", id="one port for both"),
    pytest.param(service(scheduler="guess"), "service.vpn.scheduler", id="unknown word"),
    pytest.param(service(persistence_timeout="soon"), "service.vpn.persistence_timeout", id="no time span"),
    pytest.param(service(snat_addresses=["10.0.0.9-10.0.0.1"]), "service.vpn.snat_addresses", id="backward range"),
    pytest.param(service(servers="aa"), "service.vpn.real_server", id="duplicate server"),
    pytest.param(service(real_server=[real_server("a", address=VPN)]), "service.vpn.real_server.a", id="server is VIP"),
    pytest.param(service(real_server=[real_server("a", weight=-1)]), "service.vpn.real_server.a.weight", id="weight"),
    pytest.param(service(health={"type": "exec"}), "service.vpn.health", id="nothing to run"),
]


@pytest.mark.trio
@pytest.mark.parametrize(("invalid", "key"), INVALID)
async def test_an_invalid_file_is_refused_by_key_and_changes_nothing(tmp_path: Path, invalid: Tables, key: str) -> None:
    async with world(tmp_path) as w:
        client, before = await w.connected(), await what_runs(w.engine)
        session = await w.engine.session(client)
        write_config(w.engine.path, invalid)
        with refused("invalid", "the running configuration stays") as refusal:
            await w.engine.operations.reload("tester")
        assert refusal.details
        assert all(line.startswith(f"{w.engine.path}:") for line in refusal.details)
        assert any(line.startswith(f"{w.engine.path}:{key}") for line in refusal.details)
        assert len(w.engine.events("config-refused")) == 1
        assert await what_runs(w.engine) == before
        await client.echo()
        assert (await w.engine.session(client)).row.id == session.row.id
        assert len(await w.engine.operations.history(10)) == 1


@pytest.mark.trio
async def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        write_config(
            w.engine.path,
            service(scheduler="guess", ike_port=70_000),
            service("other", at=PARTNERS, nope=1),
            log_level="loud",
        )
        with refused("invalid", "is not valid") as refusal:
            await w.engine.operations.reload("tester")
        for key in ("engine.log_level", "service.vpn.scheduler", "service.vpn.ike_port", "service.other.nope"):
            assert any(f":{key}" in line for line in refusal.details), key


@pytest.mark.trio
@pytest.mark.parametrize(
    "content",
    [b"[[service]", b"\xff\xfe", None, b"", b"[engine]\nmax_sessions = 7\n"],
    ids=["syntax", "binary", "gone", "empty", "cut short"],
)
async def test_a_file_that_is_no_configuration_leaves_the_service_alone(tmp_path: Path, content: bytes | None) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        if content is None:
            w.engine.path.unlink()
        else:
            w.engine.path.write_bytes(content)
        with refused("invalid", "the running configuration stays") as refusal:
            await w.engine.operations.reload("tester")
        assert refusal.details[0].startswith(f"{w.engine.path}:")
        assert (await w.engine.operations.config()).on_disk_differs
        await client.echo()


@pytest.mark.trio
async def test_a_text_that_cannot_be_edited_in_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object, **__: object) -> str:
        raise ValueError("this text cannot be edited in place: change it in an editor")

    async with world(tmp_path) as w:
        monkeypatch.setattr("engine.config.edit.replace_config", give_up)
        with refused("failed", "not done: vpn/a: drain") as refusal:
            await drain(w.engine)
        assert refusal.details == [f"{w.engine.path}: this text cannot be edited in place: change it in an editor"]


@pytest.mark.trio
async def test_a_change_never_overwrites_an_edit_on_disk(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.engine.edit_on_disk("round-robin", "maglev")
        on_disk = w.engine.path.read_text()
        state = await w.engine.operations.config()
        assert state.on_disk_differs
        assert '-scheduler = "round-robin"\n+scheduler = "maglev"\n' in state.difference

        with refused("conflict", "was changed on disk meanwhile") as refusal:
            await drain(w.engine)
        assert '+scheduler = "maglev"' in refusal.details
        assert w.engine.path.read_text() == on_disk
        assert w.engine.server("a").admin_state == "enabled"

        await w.engine.operations.reload("tester")
        await drain(w.engine)
        assert w.engine.server("a").admin_state == "drain"
        assert 'scheduler = "maglev"' in w.engine.path.read_text()


@pytest.mark.trio
async def test_a_full_disk_fails_the_change_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with world(tmp_path) as w:
        await until((tmp_path / "state" / JOURNAL).exists)
        client, before, files = await w.connected(), w.engine.path.read_text(), files_below(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("engine.config.save.replace_file", no_space)
            with refused("failed", "no space is left"):
                await drain(w.engine)
        assert w.engine.path.read_text() == before
        assert files_below(tmp_path) == files
        assert w.engine.server("a").admin_state == "enabled"
        await client.echo()
        await drain(w.engine)
        assert w.engine.server("a").admin_state == "drain"


@pytest.mark.trio
async def test_undo_returns_to_the_revision_before_and_undone_again_to_where_one_was(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = w.engine.path.read_text()
        await drain(w.engine)
        second = w.engine.path.read_text()

        assert (await w.engine.operations.undo("tester")).done == "back to revision 1"
        assert w.engine.path.read_text() == first
        assert w.engine.server("a").admin_state == "enabled"

        assert (await w.engine.operations.undo("tester")).done == "back to revision 2"
        assert w.engine.path.read_text() == second
        assert w.engine.server("a").admin_state == "drain"
        assert [revision.summary for revision in await w.engine.operations.history(10)] == [
            "back to revision 2",
            "back to revision 1",
            "vpn/a: drain",
            "in force at start",
        ]
        assert [revision.number for revision in await w.engine.operations.history(2)] == [4, 3]


@pytest.mark.trio
async def test_without_an_earlier_revision_there_is_nothing_to_undo(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with refused("not-found", "no earlier revision"):
            await w.engine.operations.undo("tester")


@pytest.mark.trio
async def test_history_outlives_the_engine(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await drain(w.engine)
    async with running(tmp_path / "config.toml") as engine:
        assert engine.server("a").admin_state == "drain"
        assert len(await engine.operations.history(10)) == 2
        await engine.operations.undo("tester")
        assert engine.server("a").admin_state == "enabled"


@pytest.mark.trio
async def test_without_a_history_changes_are_made_all_the_same_and_it_is_said(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.write_text("a file stands where the directory should be")
    async with world(tmp_path) as w:
        assert [event.severity for event in w.engine.events("history-failed")] == ["warning"]
        await drain(w.engine)
        assert w.engine.server("a").admin_state == "drain"
        assert 'state = "drain"' in w.engine.path.read_text()
        assert len(w.engine.events("history-failed")) == 2
        with refused("failed", str(state_dir)):
            await w.engine.operations.history(10)
        with refused("failed", str(state_dir)):
            await w.engine.operations.undo("tester")


@pytest.mark.trio
async def test_a_server_that_a_reload_takes_away_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = threading.Event()

    def slow_load(path: Path) -> Loaded:
        assert read.wait(10)
        return load(path)

    monkeypatch.setattr("engine.configuration.load", slow_load)
    async with world(tmp_path) as w:
        write_config(w.engine.path, service(servers="b"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.engine.operations.reload, "tester")
            await wait_all_tasks_blocked()

            async def refused_drain() -> None:
                with refused("not-found", 'has no real server "a": there is b'):
                    await drain(w.engine)

            nursery.start_soon(refused_drain)
            await wait_all_tasks_blocked()
            read.set()


@pytest.mark.trio
async def test_changes_at_the_same_time_are_all_made(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, w.engine, "a")
            nursery.start_soon(drain, w.engine, "b")
        assert w.engine.path.read_text().count('state = "drain"') == 2
        assert [w.engine.server(name).admin_state for name in "ab"] == ["drain", "drain"]
        assert len(await w.engine.operations.history(10)) == 3


@pytest.mark.trio
async def test_a_damaged_revision_is_told_and_harms_nothing(tmp_path: Path) -> None:
    """The operator hears that an entry of the history is lost; the engine starts and goes on recording."""
    kept = tmp_path / "state" / "history"
    kept.mkdir(parents=True)
    (kept / "000007.json").write_text("not a revision")
    async with world(tmp_path) as w:
        assert "000007.json" in w.engine.events("history-damaged")[0].text
        assert [revision.number for revision in await w.engine.operations.history(10)] == [8]


@pytest.mark.trio
async def test_a_change_is_made_whole_even_if_its_client_is_given_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "CLOSED_AT_ONCE", 1)
    async with world(tmp_path) as w:
        for host in (CLIENT, OTHER_CLIENT, THIRD_CLIENT):
            await w.connected(host)
        settings = w.engine.operations.settings()
        (vpn,) = settings.tables["service"]
        vpn["real_server"] = [real_server("c")]
        with trio.CancelScope() as scope:
            closed = w.engine.operations._forwarder.table.close

            def close(session: Session, reason: str = "") -> None:
                scope.cancel()
                closed(session, reason)

            monkeypatch.setattr(w.engine.operations._forwarder.table, "close", close)
            await w.engine.operations.apply(settings.base, settings.tables, summary="", author="tester")
        assert await w.engine.sessions() == []
        assert [server.name for server in w.engine.service().servers] == ["c"]
        assert load(w.engine.path).config.services[0].real_servers[0].name == "c"
        assert len(await w.engine.operations.history(10)) == 2
        assert w.engine.events("config-applied")
