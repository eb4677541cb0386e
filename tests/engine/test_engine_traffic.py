"""What an operator is told of tunnels that really pass through the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_engine import CLIENT, OTHER_CLIENT, PARTNERS, THIRD_CLIENT, real_server, service, until, world
from vpn_peers import Server, address

from engine.control.status import SourceUse


@pytest.mark.trio
async def test_both_ports_of_a_client_reach_one_server_and_the_records_say_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        assert (w.servers["a"].ike_sas, w.servers["b"].ike_sas) == (1, 0)

        session = await w.engine.established(client)
        assert (session.row.server, session.row.why) == ("a", "scheduled by round-robin")
        assert (session.row.spi_i, session.row.spi_r) == (f"{client.tunnel.spi_i:016x}", f"{client.tunnel.spi_r:016x}")
        assert session.row.traffic == client.traffic
        assert [(flow.port, flow.traffic.packets_in, flow.traffic.packets_out) for flow in session.flows] == [
            ("ike", 1, 1),
            ("nat-t", 2, 2),
        ]
        assert all(flow.client.startswith(f"{CLIENT}:") and flow.source for flow in session.flows)
        assert [(message.direction, message.exchange) for message in session.messages] == [
            ("in", "IKE_SA_INIT"),
            ("out", "IKE_SA_INIT"),
            ("in", "IKE_AUTH"),
            ("out", "IKE_AUTH"),
        ]

        status = w.engine.operations.status()
        assert all(status.started_at <= message.at <= status.now_at for message in session.messages)
        assert (status.sessions, status.half_open, status.flows, status.open_sockets) == (1, 0, 2, 2)
        vpn = w.engine.service()
        assert (vpn.state, vpn.sessions, vpn.new_sessions, vpn.persistence_records, vpn.drops) == ("up", 1, 1, 1, {})
        assert vpn.traffic == client.traffic
        a, b = w.engine.server("a"), w.engine.server("b")
        assert (a.sessions, a.share, a.weighted_share, a.traffic) == (1, 1.0, 0.5, client.traffic)
        assert status.started_at - 1 < a.health_since_at <= status.now_at
        assert (b.sessions, b.share, b.weighted_share, b.traffic.packets_in) == (0, 0.0, 0.5, 0)


@pytest.mark.trio
async def test_a_session_is_half_open_until_data_passes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = w.client()
        await client.init()
        assert (await w.engine.session(client)).row.phase == "init"
        assert w.engine.server("a").half_open == w.engine.operations.status().half_open == 1
        await client.authenticate()
        assert (await w.engine.session(client)).row.phase == "auth"
        await client.echo()
        await w.engine.established(client)
        assert w.engine.server("a").half_open == 0


@pytest.mark.trio
async def test_a_client_returns_to_its_server_while_its_persistence_lasts(tmp_path: Path) -> None:
    async with world(tmp_path, service(persistence_timeout="10m")) as w:
        await w.connected()
        again = await w.connected()
        assert w.servers["a"].ike_sas == 2
        newest = (await w.engine.sessions(spi=f"{again.tunnel.spi_i:016x}"))[0]
        assert (newest.server, newest.why) == ("a", f"persistence {CLIENT}/32")

        (explained,) = w.engine.operations.explain(CLIENT)
        assert explained.persistence is not None
        assert (explained.persistence.client, explained.persistence.server) == (f"{CLIENT}/32", "a")
        assert 590 < explained.persistence.left_s <= 600


@pytest.mark.trio
async def test_explain_foretells_where_a_new_client_goes_without_changing_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.connected()
        for _ in range(3):
            (explained,) = w.engine.operations.explain(OTHER_CLIENT)
            assert (explained.sessions, explained.persistence) == ([], None)
            assert (explained.next_server, explained.next_reason) == ("b", "scheduled by round-robin")
        other = await w.connected(OTHER_CLIENT)
        assert (await w.engine.established(other)).row.server == "b"
        (explained,) = w.engine.operations.explain(OTHER_CLIENT)
        assert [session.row.server for session in explained.sessions] == ["b"]
        assert (explained.next_server, explained.next_reason) == ("b", f"persistence {OTHER_CLIENT}/32")


@pytest.mark.trio
async def test_explain_says_why_no_server_takes_a_client(tmp_path: Path) -> None:
    servers = [real_server("a", state="drain"), real_server("b", weight=0), real_server("c", state="disabled")]
    async with world(tmp_path, service(real_server=servers)) as w:
        (explained,) = w.engine.operations.explain(CLIENT)
        assert (explained.next_server, explained.next_reason) == ("", "a: drain; b: weight 0; c: disabled")
        assert w.engine.service().state == "down"


@pytest.mark.trio
async def test_turned_away_clients_are_told_once_and_again_when_they_are_taken(tmp_path: Path) -> None:
    async with world(tmp_path, service(real_server=[real_server("a", state="disabled")])) as w:
        first, second = w.client(), w.client(OTHER_CLIENT)
        await first.send_init()
        await second.send_init()
        await first.send_init()
        await until(lambda: w.engine.service().drops.get("no-server") == 3)
        assert [event.service for event in w.engine.events("no-server")] == ["vpn"]
        assert w.engine.events("takes-clients") == []

        await w.engine.operations.set_server("vpn", "a", state="enabled", weight=None, author="tester")
        await first.connect()
        await second.connect()
        assert len(w.engine.events("no-server")) == len(w.engine.events("takes-clients")) == 1


@pytest.mark.trio
async def test_the_next_port_of_an_old_client_is_not_taken_for_a_new_client(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old = w.client()
        await old.init()
        for name in "ab":
            await w.engine.operations.set_server("vpn", name, state="drain", weight=None, author="tester")
        await w.client(OTHER_CLIENT).send_init()
        await w.engine.event("no-server")
        await old.authenticate()
        await old.echo()
        assert w.engine.events("takes-clients") == []


@pytest.mark.trio
async def test_two_services_share_the_engine_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a"), service("partners", at=PARTNERS, servers="b")) as w:
        vpn, partners = await w.connected(), await w.connected(at=PARTNERS)
        assert (w.servers["a"].ike_sas, w.servers["b"].ike_sas) == (1, 1)
        assert w.engine.service("vpn").traffic == vpn.traffic
        assert w.engine.service("partners").traffic == partners.traffic
        assert [row.server for row in await w.engine.sessions(service="partners")] == ["b"]
        assert [explained.service for explained in w.engine.operations.explain(CLIENT)] == ["vpn", "partners"]


@pytest.mark.trio
async def test_ipv6_clients_are_served(tmp_path: Path, ipv6_ports: tuple[int, int, int, int]) -> None:
    ike, nat_t, server_ike, server_nat_t = ipv6_ports
    server = {"name": "six", "address": "::1", "ike_port": server_ike, "nat_t_port": server_nat_t}
    settings = service(at="::1", ike_port=ike, nat_t_port=nat_t, real_server=[server])
    async with world(tmp_path, settings, service("four", at=PARTNERS)) as w:
        six = Server("::1", server_ike, server_nat_t)
        await w.start(six)
        client = w.client("::1", at="::1")
        client.ike_port, client.nat_t_port = ike, nat_t
        await client.connect()
        session = await w.engine.established(client)
        assert session.row.client.startswith("[::1]:")
        assert session.row.traffic == client.traffic
        (explained,) = w.engine.operations.explain("0:0:0:0:0:0:0:1")
        assert (explained.service, explained.next_reason) == ("vpn", "persistence ::1/128")


@pytest.mark.trio
async def test_a_full_server_takes_no_more_sessions(tmp_path: Path) -> None:
    servers = [real_server("a", max_sessions=1), real_server("b")]
    async with world(tmp_path, service(real_server=servers)) as w:
        clients = [await w.connected(host) for host in (CLIENT, OTHER_CLIENT, THIRD_CLIENT)]
        assert [(await w.engine.session(client)).row.server for client in clients] == ["a", "b", "b"]
        assert w.engine.server("a").weighted_share == 0.0
        assert w.engine.server("b").weighted_share == 1.0


@pytest.mark.trio
async def test_a_full_table_gives_up_its_oldest_half_open_session(tmp_path: Path) -> None:
    async with world(tmp_path, max_sessions=2) as w:
        tunnel = await w.connected()
        oldest, newest = w.client(OTHER_CLIENT), w.client(THIRD_CLIENT)
        await oldest.init()
        await newest.init()
        assert {row.client.rpartition(":")[0] for row in await w.engine.sessions()} == {CLIENT, THIRD_CLIENT}
        await tunnel.echo()
        await newest.authenticate()
        await newest.echo()

        await oldest.send_init()
        await until(lambda: w.engine.service().drops.get("table-full"))
        await w.engine.event("table-full")
        await tunnel.echo()
        await newest.echo()
        assert w.engine.operations.status().sessions == 2


@pytest.mark.trio
async def test_sessions_spread_over_the_snat_pool_and_the_use_is_shown(tmp_path: Path) -> None:
    pool = [address(31), address(32)]
    async with world(tmp_path, service(servers="a", snat_addresses=pool)) as w:
        clients = [await w.connected(host) for host in (CLIENT, OTHER_CLIENT, THIRD_CLIENT)]
        assert sorted(use.sessions for use in w.engine.server("a").source_use) == [1, 2]
        assert {use.address for use in w.engine.server("a").source_use} == set(pool)
        for client in clients:
            sources = {flow.source.rpartition(":")[0] for flow in (await w.engine.session(client)).flows}
            assert len(sources) == 1
            assert sources <= set(pool)

        await w.engine.reload(service(servers="a", snat_addresses=[address(33)]))
        for client in clients:
            await client.echo()
        assert w.engine.server("a").source_use == [SourceUse(address=address(33), sessions=3)]


@pytest.mark.trio
async def test_what_is_dropped_is_counted_by_reason(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = w.client()
        await client.send(bytes(4) + b"short")
        await client.send(b"\xff")
        await until(lambda: w.engine.service().drops == {"runt": 1, "keepalive-without-flow": 1})
        assert w.engine.operations.status().sessions == 0
