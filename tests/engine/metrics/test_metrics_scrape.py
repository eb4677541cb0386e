"""A running engine is asked over HTTP, as Prometheus does, and says what its status says."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from running_engine import (
    FAST_PROBES,
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
from vpn_peers import address

from engine.metrics import collector, endpoint, families
from engine.metrics.exposition import Family, Page
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service

HOST = address(90)
PORT = 9466
LISTEN: Tables = {"listen": f"{HOST}:{PORT}"}
OTHER_PORT: Tables = {"listen": f"{HOST}:{PORT + 1}"}

Samples = dict[tuple[str, frozenset[str]], float]


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FRESH_S", 0.0)


async def fetch(port: int = PORT) -> bytes:
    stream = await trio.open_tcp_stream(HOST, port)
    async with stream:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = b""
        async for some in stream:
            heard += some
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return body


async def scrape() -> Samples:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families((await fetch()).decode())
        for sample in family.samples
    }


def of(samples: Samples, name: str, *labels: str) -> float:
    return samples[f"ikeconsole_{name}", frozenset(labels)]


def nobody_listens(port: int = PORT) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) != 0


@pytest.mark.trio
async def test_what_is_told_is_what_the_status_says(tmp_path: Path) -> None:
    servers = [real_server("a", max_sessions=7), real_server("b", state="drain")]
    async with world(tmp_path, service(real_server=servers, health=FAST_PROBES), metrics=LISTEN) as w:
        await w.engine.healthy("a", "b")
        client = await w.connected()
        await w.engine.established(client)
        samples = await scrape()
        status, server = w.engine.service(), w.engine.server("a")
    traffic = server.traffic
    assert traffic == client.traffic
    assert of(samples, "sessions", "vpn", "a", "established") == 1
    assert of(samples, "sessions", "vpn", "a", "half-open") == 0
    assert of(samples, "sessions_opened_total", "vpn", "a") == server.new_sessions == 1
    assert of(samples, "packets_total", "vpn", "a", "in") == traffic.packets_in
    assert of(samples, "packets_total", "vpn", "a", "out") == traffic.packets_out
    assert of(samples, "bytes_total", "vpn", "a", "in") == traffic.bytes_in
    assert of(samples, "bytes_total", "vpn", "a", "out") == traffic.bytes_out
    assert of(samples, "server_up", "vpn", "a") == 1
    assert of(samples, "server_sessions_limit", "vpn", "a") == 7
    assert ("ikeconsole_server_sessions_limit", frozenset({"vpn", "b"})) not in samples
    assert [of(samples, "server_takes_sessions", "vpn", name) for name in "ab"] == [1, 0]
    assert [of(samples, "server_admin_state", "vpn", "b", state) for state in ("enabled", "drain")] == [0, 1]
    assert of(samples, "server_probe_rtt_seconds", "vpn", "a") > 0
    assert of(samples, "server_handshake_p95_seconds", "vpn", "a") == server.handshake_p95_s
    assert of(samples, "persistence_records", "vpn") == status.persistence_records == 1
    assert of(samples, "violations_total", "vpn", "ports-split") == 0
    assert of(samples, "fast_path_mode", "off") == 1
    assert samples["process_open_fds", frozenset()] > 0


@pytest.mark.trio
async def test_trouble_is_told(tmp_path: Path) -> None:
    """A server that is down, the alarm that follows, and a datagram that is no IKE message."""
    servers = service(servers="a", health=FAST_PROBES)
    async with world(tmp_path, servers, servers="", metrics=LISTEN) as w:
        await until(lambda: w.engine.server("a").health == "down")
        await until(lambda: w.engine.operations.status().alarms)
        await w.client().send(b"\0\0\0\0too short")
        reason = next(iter(await until(lambda: w.engine.service().drops)))
        samples = await scrape()
    assert of(samples, "server_up", "vpn", "a") == 0
    assert of(samples, "server_takes_sessions", "vpn", "a") == 0
    assert of(samples, "alarms", "server-down", "error", "vpn", "a") == 1
    assert of(samples, "datagrams_dropped_total", "vpn", reason) >= 1


@pytest.mark.trio
async def test_no_client_is_named(tmp_path: Path) -> None:
    async with world(tmp_path, metrics=LISTEN) as w:
        client = await w.connected()
        assert client.host.encode() not in await fetch()


@pytest.mark.trio
@pytest.mark.parametrize(("slice_s", "interrupted"), [(0.0, True), (3600.0, False)])
async def test_the_forwarder_has_its_turn_between_two_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, slice_s: float, interrupted: bool
) -> None:
    turns = 0
    seen: list[int] = []
    add_server = collector._add_server

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def add_and_note(page: Page, owner: Service, server: RealServer) -> None:
        seen.append(turns)
        add_server(page, owner, server)

    monkeypatch.setattr(collector, "SLICE_S", slice_s)
    monkeypatch.setattr(collector, "_add_server", add_and_note)
    async with world(tmp_path, service(servers="abc"), metrics=LISTEN):
        nursery.start_soon(take_turns)
        assert await fetch()
        assert len(seen) == 3
        assert (len(set(seen)) > 1) is interrupted
        nursery.cancel_scope.cancel()


def test_names_keep_to_prometheus_rules() -> None:
    found = [value for value in vars(families).values() if isinstance(value, Family)]
    assert len({family.name for family in found}) == len(found) > 30
    for family in found:
        assert family.name.startswith("ikeconsole_")
        assert family.name.endswith("_total") is (family.kind == "counter")
        assert family.help.endswith(".")


@pytest.mark.trio
async def test_it_is_switched_on_moved_and_off_while_the_engine_runs(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await until(nobody_listens)
        await w.engine.reload(service(), metrics=LISTEN)
        assert await fetch()
        await w.engine.reload(service(), metrics=OTHER_PORT)
        assert await fetch(PORT + 1)
        await until(nobody_listens)
        await w.engine.reload(service(), metrics=LISTEN)
        assert await fetch()
        await w.engine.reload(service(scheduler="fixed"), metrics=LISTEN)
        assert await fetch()
        await w.engine.reload(service())
        await until(nobody_listens)


@pytest.mark.trio
async def test_a_taken_port_refuses_the_configuration_and_the_one_before_stays(tmp_path: Path) -> None:
    async with world(tmp_path, metrics=LISTEN) as w:
        with socket.create_server((HOST, PORT + 1)), refused("invalid", "the running configuration stays") as refusal:
            await w.engine.reload(service(scheduler="fixed"), metrics=OTHER_PORT)
        assert refusal.details == [
            f"engine.metrics.listen: TCP {HOST}:{PORT + 1} is taken by another program: "
            f"find it with `ss -ltnp sport = :{PORT + 1}`, or change the port"
        ]
        assert w.engine.service().scheduler == "round-robin"
        assert await fetch()


@pytest.mark.trio
async def test_a_configuration_that_is_refused_for_something_else_leaves_the_port_free(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with refused("invalid", "the running configuration stays"):
            await w.engine.reload(service(at="192.0.2.1"), metrics=LISTEN)
        await until(nobody_listens)
        await w.engine.reload(service(), metrics=LISTEN)
        assert await fetch()


@pytest.mark.trio
async def test_an_engine_that_ends_gives_the_port_back_for_the_next(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(), metrics=LISTEN)
    for _ in range(2):
        async with running(tmp_path / "config.toml"):
            assert await fetch()
        await until(nobody_listens)


@pytest.mark.trio
async def test_more_connections_than_enough_are_closed_until_there_is_room(tmp_path: Path) -> None:
    async with world(tmp_path, metrics=LISTEN), AsyncExitStack() as stack:
        for _ in range(endpoint.MAX_CONNECTIONS):
            idle = await stack.enter_async_context(await trio.open_tcp_stream(HOST, PORT))
        late = await stack.enter_async_context(await trio.open_tcp_stream(HOST, PORT))
        with trio.fail_after(5):
            assert await late.receive_some() == b""
            await idle.aclose()
            await wait_all_tasks_blocked(0.05)
            assert await fetch()


@pytest.mark.trio
async def test_who_asks_again_at_once_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FRESH_S", 3600.0)
    async with world(tmp_path, metrics=LISTEN) as w:
        before = await fetch()
        await w.connected()
        assert await fetch() == before
