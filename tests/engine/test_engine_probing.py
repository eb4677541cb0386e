"""Real servers that fail, come back, or say how busy they are, and what becomes of their clients."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from running_engine import CLIENT, FAST_PROBES, HOSTS, OTHER_CLIENT, World, service, until, world

AGENT_PORT = 13_333
ADAPTIVE = service(scheduler="adaptive", agent={"port": AGENT_PORT, "interval": "300ms", "timeout": "300ms"})


async def agent(host: str, load: int, *, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    """A load agent that always says the same."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            body = str(load).encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    await trio.serve_tcp(answer, AGENT_PORT, host=host, task_status=task_status)


async def reconnected(w: World) -> str:
    """Have CLIENT come anew; returns the name of its real server."""
    client = await w.connected()
    (row,) = await w.engine.sessions(spi=f"{client.tunnel.spi_i:016x}")
    return row.server


@pytest.mark.trio
async def test_clients_of_a_server_that_goes_down_go_to_another_and_the_events_say_so(tmp_path: Path) -> None:
    async with world(tmp_path, service(health=FAST_PROBES)) as w:
        await w.engine.healthy("a", "b")
        client, other = await w.connected(), await w.connected(OTHER_CLIENT)
        assert (w.servers["a"].ike_sas, w.servers["b"].ike_sas) == (1, 1)

        await w.servers["a"].stop()
        down = await w.engine.event("server-down")
        assert (down.severity, down.service, down.server) == ("error", "vpn", "a")
        await until(lambda: w.engine.server("a").sessions == 0)
        assert w.engine.server("a").health == "down"
        assert "refused" in w.engine.server("a").health_reason
        assert w.engine.service().state == "degraded"
        assert [row.phase for row in await w.engine.sessions(client=CLIENT)] == ["idle"]
        status = w.engine.operations.status()
        assert (status.sessions, status.idle, status.present) == (2, 1, w.engine.service().sessions)
        (explained,) = w.engine.operations.explain(CLIENT)
        assert (explained.persistence, explained.next_server) == (None, "b")

        assert not await client.is_known()
        assert await reconnected(w) == "b"
        await other.echo()
        assert w.engine.service().persistence_records == 2

        await w.start(w.servers["a"])
        await until(lambda: [event for event in w.engine.events("server-up") if " is up after " in event.text])
        assert w.engine.server("a").health == "up"
        assert w.engine.service().state == "up"
        assert await reconnected(w) == "b"
        newcomer = await w.connected(HOSTS["c"])
        assert (await w.engine.session(newcomer)).row.server == "a"


@pytest.mark.trio
async def test_probes_measure_the_round_trip(tmp_path: Path) -> None:
    async with world(tmp_path, service(health=FAST_PROBES)) as w:
        await w.engine.healthy("a", "b")
        a = w.engine.server("a")
        assert a.rtt_s is not None
        assert 0 < a.rtt_s < 2
        assert a.last_probe_s is not None
        assert 0 <= a.last_probe_s < 2


@pytest.mark.trio
async def test_a_server_that_was_down_counts_as_up_once_it_is_no_longer_to_be_probed(tmp_path: Path) -> None:
    async with world(tmp_path, service(health=FAST_PROBES | {"rise": 2}), servers="b") as w:
        await w.engine.event("server-down")
        await w.engine.reload(service(health={"type": "none"}))
        await w.engine.healthy("a", "b")


@pytest.mark.trio
async def test_other_probe_settings_take_effect_on_reload(tmp_path: Path) -> None:
    async with world(tmp_path, service(health={"type": "none"}), servers="b") as w:
        await w.engine.healthy("a", "b")
        await w.engine.reload(service(health=FAST_PROBES))
        assert (await w.engine.event("server-down")).server == "a"
        await w.engine.healthy("b")


@pytest.mark.trio
async def test_a_server_that_is_removed_is_probed_no_longer(tmp_path: Path) -> None:
    async with world(tmp_path, service(health=FAST_PROBES)) as w:
        await w.engine.healthy("a", "b")
        await w.engine.reload(service(servers="b", health=FAST_PROBES))
        await w.servers["a"].stop()
        await w.servers["b"].stop()
        await w.engine.event("server-down")
        await w.start(w.servers["b"])
        await w.engine.event("server-up", number=3)
        assert [event.server for event in w.engine.events("server-down")] == ["b"]


@pytest.mark.trio
async def test_the_adaptive_scheduler_sends_clients_where_the_agents_say_there_is_room(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(agent, HOSTS["a"], 100))
        await nursery.start(partial(agent, HOSTS["b"], 10))
        async with world(tmp_path, ADAPTIVE) as w:
            await until(lambda: [w.engine.server(name).agent_load for name in "ab"] == [100, 10])
            for host in (CLIENT, OTHER_CLIENT, HOSTS["c"]):
                assert (await w.engine.session(await w.connected(host))).row.server == "b"

            await w.engine.reload(service())
            assert [w.engine.server(name).agent_load for name in "ab"] == [None, None]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_server_whose_agent_says_down_takes_no_new_sessions_and_keeps_those_it_has(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        async with world(tmp_path, ADAPTIVE) as w:
            client = await w.connected()
            (row,) = await w.engine.sessions()
            await nursery.start(partial(agent, HOSTS[row.server], 101))
            await until(lambda: w.engine.server(row.server).agent_load == 101)
            await client.echo()
            other = await w.connected(OTHER_CLIENT)
            assert (await w.engine.session(other)).row.server != row.server
        nursery.cancel_scope.cancel()
