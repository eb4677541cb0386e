"""Everything that the control socket offers, asked of the real engine as the command line asks it."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from running_engine import CLIENT, World, open_files, refused, until, world
from trio.testing import wait_all_tasks_blocked

from engine.config.load import Loaded
from engine.config.save import save
from engine.control.records import Event, SessionQuery
from ikeconsole.client import ControlClient, EngineUnreachable, connect


@asynccontextmanager
async def controlled(directory: Path) -> AsyncIterator[tuple[World, ControlClient]]:
    """A world and a client of its engine's control socket."""
    async with world(directory) as w, connect(directory / "control.sock") as control:
        yield w, control


@pytest.mark.trio
async def test_the_engine_says_hello_on_a_socket_that_only_its_group_can_use(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (w, control):
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660
        status = w.engine.operations.status()
        assert (control.hello.pid, control.hello.host) == (status.pid, status.host)
        assert (control.hello.version, control.hello.config_path) == (status.version, str(w.engine.path))
        assert control.hello.may_change


@pytest.mark.trio
async def test_status_sessions_and_explanations_arrive_as_the_engine_has_them(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (w, control):
        client = await w.connected()
        status = await control.status()
        assert [(s.name, s.sessions, s.traffic) for s in status.services] == [("vpn", 1, client.traffic)]
        assert [server.name for server in status.services[0].servers] == ["a", "b"]

        page = await control.sessions(SessionQuery(client=CLIENT))
        assert (page.total, page.matched) == (1, 1)
        assert (page.rows[0].phase, page.rows[0].server, page.rows[0].traffic) == ("established", "a", client.traffic)

        detail = await control.session(page.rows[0].id)
        assert [flow.port for flow in detail.flows] == ["ike", "nat-t"]
        (explained,) = await control.explain(CLIENT)
        assert (explained.next_server, explained.sessions[0].row.id) == ("a", page.rows[0].id)


@pytest.mark.trio
async def test_changes_over_the_socket_take_effect(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (w, control):
        client = await w.connected()
        assert (await control.set_server("vpn", "b", weight=40)).done == "vpn/b: weight 40"
        assert w.engine.server("b").weight == 40
        assert (await control.move(CLIENT, "b")).sessions == 1
        await client.connect()
        assert (await control.clear(CLIENT)).sessions == 1
        assert w.engine.operations.status().sessions == 0

        w.engine.edit_on_disk("round-robin", "maglev")
        state = await control.config()
        assert state.on_disk_differs
        assert 'scheduler = "round-robin"' in state.text
        assert (await control.reload()).done == "reloaded from the file"
        assert w.engine.service().scheduler == "maglev"

        assert [revision.number for revision in await control.history()] == [3, 2, 1]
        assert (await control.undo()).done == "back to revision 2"
        assert (w.engine.service().scheduler, w.engine.server("b").weight) == ("round-robin", 40)


@pytest.mark.trio
async def test_refusals_arrive_with_kind_and_details(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (w, control):
        with refused("not-found", "real servers: a, b"):
            await control.set_server("vpn", "z", state="drain")
        with refused("invalid", "'asleep'"):
            await control.sessions(SessionQuery(phase="asleep"))
        with refused("not-found", "no session 9"):
            await control.session(9)
        w.engine.edit_on_disk('scheduler = "round-robin"', 'scheduler = "guess"')
        with refused("invalid", "the running configuration stays") as refusal:
            await control.reload()
        assert refusal.details[0].startswith(f"{w.engine.path}:service.vpn.scheduler: ")
        with refused("conflict", "ikeconsole reload") as refusal:
            await control.set_server("vpn", "a", state="drain")
        assert '+scheduler = "guess"' in refusal.details


@pytest.mark.trio
async def test_a_follower_sees_past_events_and_new_ones_as_they_happen(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (w, control):
        seen: dict[int, Event] = {}

        async def follow() -> None:
            async with connect(tmp_path / "control.sock") as follower:
                async for event in follower.follow():
                    seen[event.number] = event

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            await w.connected()
            await control.clear(CLIENT)
            await control.set_server("vpn", "a", state="drain")
            await until(lambda: len(seen) == len(w.engine.operations.events(0, 0, 100)))
            nursery.cancel_scope.cancel()
        past = await control.events()
        assert list(seen.values()) == past
        assert [event.kind for event in past if event.kind != "server-up"] == [
            "started",
            "session-established",
            "session-ended",
            "cleared",
            "config-applied",
        ]
        assert await control.events(after=past[-2].number) == past[-1:]


@pytest.mark.trio
async def test_a_stopped_engine_hangs_up_on_its_clients(tmp_path: Path) -> None:
    connected, lost = trio.Event(), trio.Event()

    async def follow() -> None:
        async with connect(tmp_path / "control.sock") as control:
            async for _ in control.follow():
                connected.set()

    async def follow_until_lost() -> None:
        with pytest.raises(EngineUnreachable, match="lost the engine"):
            await follow()
        lost.set()

    async with trio.open_nursery() as nursery:
        async with world(tmp_path):
            nursery.start_soon(follow_until_lost)
            with trio.fail_after(5):
                await connected.wait()
        with trio.fail_after(5):
            await lost.wait()


@pytest.mark.trio
async def test_a_change_under_way_when_the_engine_stops_is_saved_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saving, may_save = trio.Event(), threading.Event()

    def slow_save(loaded: Loaded, text: str) -> Loaded:
        trio.from_thread.run_sync(saving.set)
        assert may_save.wait(10)
        return save(loaded, text)

    async def drain() -> None:
        async with connect(tmp_path / "control.sock") as control:
            with suppress(EngineUnreachable):
                await control.set_server("vpn", "a", state="drain")

    monkeypatch.setattr("engine.configuration.save", slow_save)
    files = open_files()
    async with trio.open_nursery() as nursery, world(tmp_path):
        nursery.start_soon(drain)
        with trio.fail_after(5):
            await saving.wait()
        threading.Timer(0.2, may_save.set).start()
    assert 'state = "drain"' in (tmp_path / "config.toml").read_text()
    assert open_files() == files
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
