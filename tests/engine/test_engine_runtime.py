"""Starting and stopping: an engine that cannot start says why, one that stops leaves nothing behind."""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from running_engine import CLIENT, PARTNERS, VPN, open_files, running, service, until, world, write_config
from vpn_peers import IKE_PORT, NAT_T_PORT

from engine.config.load import load
from engine.runtime import RESERVED_FILES, StartError, serve_forever
from engine.survival.saving import JOURNAL


async def require_start_error(path: Path, *parts: str) -> None:
    with trio.fail_after(10), pytest.raises(StartError) as caught:
        await serve_forever(load(path), signals=False)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.trio
async def test_a_taken_port_stops_the_start_and_nothing_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_config(path, service())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((VPN, NAT_T_PORT))
        files = open_files()
        await require_start_error(path, f"UDP {VPN} port {NAT_T_PORT} is taken by another program", "stop it")
        assert open_files() == files
    assert not (tmp_path / "control.sock").exists()
    async with running(path) as engine:
        assert engine.service().name == "vpn"


@pytest.mark.trio
async def test_an_address_that_is_not_this_machines_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_config(path, service(at="192.0.2.1"))
    await require_start_error(path, "this machine has no address 192.0.2.1", "ip address add")


@pytest.mark.trio
async def test_a_second_engine_on_the_same_control_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        second = tmp_path / "second.toml"
        write_config(second, service("partners", at=PARTNERS))
        await require_start_error(second, f"another engine (pid {os.getpid()})", str(tmp_path / "control.sock"))
        assert (tmp_path / "control.sock").is_socket()
        await client.echo()


@pytest.mark.trio
async def test_an_unknown_control_group_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_config(path, service(), control_group="no-such-group-here")
    await require_start_error(path, "no-such-group-here", "groupadd")


@pytest.mark.trio
async def test_a_stopped_engine_leaves_no_socket_and_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_config(path, service())
    files = open_files()
    async with world(tmp_path, service(), service("partners", at=PARTNERS)) as w:
        await w.connected()
        await w.connected(at=PARTNERS)
        assert (tmp_path / "control.sock").is_socket()
    assert open_files() == files
    assert not (tmp_path / "control.sock").exists()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((VPN, IKE_PORT))


@pytest.mark.trio
async def test_an_engine_starts_where_a_dead_one_left_its_control_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    async with world(tmp_path) as w:
        await w.connected()


@pytest.mark.trio
async def test_without_a_state_directory_the_engine_runs_and_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state_dir = tmp_path / "state"
    state_dir.write_text("a file stands where the directory should be")
    with caplog.at_level(logging.WARNING):
        async with world(tmp_path) as w:
            client = await w.connected()
            await w.engine.established(client)
            (event,) = w.engine.events("history-failed")
            assert str(state_dir) in event.text
    assert any("secret" in record.message and "anew after each start" in record.message for record in caplog.records)


@pytest.mark.trio
async def test_clients_keep_their_server_over_a_restart_when_it_is_found_by_hash(tmp_path: Path) -> None:
    hosts = [f"{CLIENT.rpartition('.')[0]}.{host}" for host in range(120, 128)]

    async def placed() -> list[str]:
        async with world(tmp_path, service(scheduler="source-hash", servers="abc"), servers="abc") as w:
            return [(await w.engine.session(await w.connected(host))).row.server for host in hosts]

    first = await placed()
    assert len(set(first)) > 1
    (tmp_path / "state" / JOURNAL).unlink()
    assert await placed() == first


@pytest.fixture
def few_files_allowed() -> Iterator[int]:
    """A soft limit below the hard one, as a shell gives it; yields the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.trio
async def test_the_engine_takes_as_many_open_files_as_it_is_allowed(tmp_path: Path, few_files_allowed: int) -> None:
    async with world(tmp_path) as w:
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few_files_allowed
        assert w.engine.operations.status().max_open_sockets == few_files_allowed - RESERVED_FILES


@pytest.mark.trio
async def test_what_is_never_finished_is_forgotten_in_time(tmp_path: Path) -> None:
    async with world(tmp_path, service(timeouts={"half_open": "100ms"}, persistence_timeout="100ms")) as w:
        await w.client().init()
        assert w.engine.operations.status().half_open == 1
        await until(lambda: w.engine.operations.status().sessions == 0)
        assert w.engine.operations.status().open_sockets == 0
        await until(lambda: w.engine.service().persistence_records == 0)


@pytest.mark.trio
async def test_status_tells_where_the_engine_is_and_what_it_uses(tmp_path: Path) -> None:
    async with world(tmp_path, max_sessions=1000, max_open_sockets=10) as w:
        status = w.engine.operations.status()
        assert (status.pid, status.host) == (os.getpid(), socket.gethostname())
        assert status.config_path == str(w.engine.path)
        assert (status.max_sessions, status.max_open_sockets) == (1000, 10)
        assert 0 <= status.now_at - status.started_at < 10
        assert status.memory_bytes > 1_000_000
        assert (status.fast_path, bool(status.fast_path_reason)) == ("off", True)
        (event,) = w.engine.events("started")
        assert str(w.engine.path) in event.text
