"""A new configuration under traffic: what it concerns changes, everything else goes on untouched."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
from running_engine import (
    CLIENT,
    HOSTS,
    OTHER_CLIENT,
    PARTNERS,
    THIRD_CLIENT,
    VPN,
    RunningEngine,
    open_files,
    real_server,
    refused,
    service,
    until,
    world,
)
from vpn_peers import IKE_PORT, NAT_T_PORT, Client, Server, address

from engine.config.load import Loaded
from engine.config.save import ConflictError, SaveError
from engine.control.api import Refused
from engine.control.records import SessionDetail
from engine.net.sockets import BindError, listener


def is_bound(host: str, port: int) -> bool:
    try:
        listener(host, port).close()
    except BindError:
        return True
    return False


def same_session(before: SessionDetail, after: SessionDetail) -> bool:
    """Whether a session is the one it was, down to the upstream sockets of its flows."""
    return before.row.id == after.row.id and [flow.source for flow in before.flows] == [
        flow.source for flow in after.flows
    ]


async def require_untouched(engine: RunningEngine, client: Client, before: SessionDetail) -> None:
    """Fail unless a client's session went on as it was, and still does."""
    await client.echo()
    after = await engine.established(client)
    assert same_session(before, after)
    assert after.row.traffic == client.traffic


@pytest.mark.trio
async def test_another_scheduler_is_used_for_new_sessions(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        before = await w.engine.session(client)
        servers = [real_server("a", weight=1), real_server("b")]
        await w.engine.reload(service(scheduler="fixed", real_server=servers))
        for host in (OTHER_CLIENT, THIRD_CLIENT):
            row = (await w.engine.session(await w.connected(host))).row
            assert (row.server, row.why) == ("b", "scheduled by fixed")
        await require_untouched(w.engine, client, before)


@pytest.mark.trio
async def test_a_server_that_is_added_takes_its_turn(tmp_path: Path) -> None:
    async with world(tmp_path, servers="abc") as w:
        client = await w.connected()
        before = await w.engine.session(client)
        await w.engine.reload(service(servers="abc"))
        others = [await w.connected(host) for host in (OTHER_CLIENT, THIRD_CLIENT)]
        assert {(await w.engine.session(other)).row.server for other in others} == {"b", "c"}
        await require_untouched(w.engine, client, before)


@pytest.mark.trio
async def test_a_server_that_is_removed_loses_its_clients_to_others(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client, other = await w.connected(), await w.connected(OTHER_CLIENT)
        before = await w.engine.session(other)
        await w.engine.reload(service(servers="b"))
        assert await w.engine.sessions(client=CLIENT) == []
        assert w.engine.service().persistence_records == 1
        await client.connect()
        assert (await w.engine.session(client)).row.server == "b"
        await require_untouched(w.engine, other, before)


@pytest.mark.trio
async def test_a_server_whose_address_changes_is_another_server(tmp_path: Path) -> None:
    async with world(tmp_path, servers="abc") as w:
        client, other = await w.connected(), await w.connected(OTHER_CLIENT)
        before = await w.engine.session(other)
        moved = [real_server("a", address=HOSTS["c"]), real_server("b")]
        await w.engine.reload(service(real_server=moved))
        assert w.engine.server("a").address == HOSTS["c"]
        assert w.engine.server("a").traffic.packets_in == 0
        assert await w.engine.sessions(client=CLIENT) == []
        await w.connected(THIRD_CLIENT)
        await client.connect()
        assert w.servers["a"].ike_sas == 1
        assert w.servers["c"].ike_sas >= 1
        await require_untouched(w.engine, other, before)


@pytest.mark.trio
async def test_another_order_of_servers_moves_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client, other = await w.connected(), await w.connected(OTHER_CLIENT)
        before = [await w.engine.session(client), await w.engine.session(other)]
        await w.engine.reload(service(servers="ba"))
        assert [server.name for server in w.engine.service().servers] == ["b", "a"]
        await require_untouched(w.engine, client, before[0])
        await require_untouched(w.engine, other, before[1])


@pytest.mark.trio
async def test_services_come_and_go_beside_one_that_stays(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        before, files = await w.engine.session(client), open_files()
        assert not is_bound(PARTNERS, IKE_PORT)

        await w.engine.reload(service(), service("partners", at=PARTNERS, servers="b"))
        await w.connected(at=PARTNERS)
        assert (await w.engine.sessions(service="partners"))[0].server == "b"

        await w.engine.reload(service())
        assert not is_bound(PARTNERS, IKE_PORT)
        assert not is_bound(PARTNERS, NAT_T_PORT)
        assert [found.name for found in w.engine.operations.status().services] == ["vpn"]
        assert w.engine.operations.status().sessions == 1
        await require_untouched(w.engine, client, before)
        assert open_files() == files + 2, "more than the two sockets of the second client"


@pytest.mark.trio
async def test_a_service_on_other_ports_serves_there_and_no_longer_here(tmp_path: Path) -> None:
    ike, nat_t = IKE_PORT + 1, NAT_T_PORT + 1
    servers = [real_server("a", ike_port=IKE_PORT, nat_t_port=NAT_T_PORT)]
    beside = service("partners", at=PARTNERS)
    async with world(tmp_path, service(real_server=servers), beside) as w:
        moved, other = await w.connected(), await w.connected(OTHER_CLIENT, at=PARTNERS)
        before = await w.engine.session(other)
        await w.engine.reload(service(real_server=servers, ike_port=ike, nat_t_port=nat_t), beside)
        assert not is_bound(VPN, IKE_PORT)
        assert not is_bound(VPN, NAT_T_PORT)
        assert await w.engine.sessions(client=CLIENT) == []
        moved.ike_port, moved.nat_t_port = ike, nat_t
        await moved.connect()
        await w.engine.established(moved)
        await require_untouched(w.engine, other, before)


@pytest.mark.trio
async def test_two_services_can_change_places(tmp_path: Path) -> None:
    async with world(tmp_path, service(servers="a"), service("partners", at=PARTNERS, servers="b")) as w:
        await w.connected()
        await w.engine.reload(service(at=PARTNERS, servers="a"), service("partners", at=VPN, servers="b"))
        at_vpn, at_partners = await w.connected(OTHER_CLIENT), await w.connected(THIRD_CLIENT, at=PARTNERS)
        assert (await w.engine.session(at_vpn)).row.service == "partners"
        assert (await w.engine.session(at_partners)).row.service == "vpn"


@pytest.mark.trio
async def test_a_renamed_service_takes_clients_on_the_ports_of_the_old_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        await w.engine.reload(service("renamed"))
        assert w.engine.operations.status().sessions == 0
        await client.connect()
        assert (await w.engine.established(client)).row.service == "renamed"


@pytest.mark.trio
async def test_a_port_that_is_taken_refuses_the_whole_configuration_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        before, running = await w.engine.session(client), (await w.engine.operations.config()).text
        third = address(3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((third, NAT_T_PORT))
            files = open_files()
            with refused("invalid", "the running configuration stays") as refusal:
                await w.engine.reload(
                    service(scheduler="maglev"),
                    service("partners", at=PARTNERS, servers="b"),
                    service("third", at=third, servers="b"),
                )
            assert open_files() == files
        assert f"UDP {third} port {NAT_T_PORT} is taken by another program" in refusal.details[0]
        assert not is_bound(PARTNERS, IKE_PORT)
        assert (await w.engine.operations.config()).text == running
        assert [found.name for found in w.engine.operations.status().services] == ["vpn"]
        await require_untouched(w.engine, client, before)

        await w.engine.operations.reload("tester")
        assert [found.name for found in w.engine.operations.status().services] == ["vpn", "partners", "third"]
        await require_untouched(w.engine, client, before)


@pytest.mark.trio
@pytest.mark.parametrize("error", [SaveError("no space is left"), ConflictError(Path("config.toml"), "+something")])
async def test_a_save_that_fails_gives_back_the_ports_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(loaded: Loaded, text: str) -> Loaded:
        raise error

    async with world(tmp_path, service(), service("partners", at=PARTNERS, servers="b")) as w:
        await w.engine.reload(service())
        monkeypatch.setattr("engine.configuration.save", fail)
        files = open_files()
        with pytest.raises(Refused):
            await w.engine.operations.undo("tester")
        assert open_files() == files
        assert not is_bound(PARTNERS, IKE_PORT)


@pytest.mark.trio
async def test_a_service_can_be_taken_away_while_clients_flood_it(tmp_path: Path) -> None:
    flooding = service("partners", at=PARTNERS, servers="b")
    async with world(tmp_path, service(), flooding) as w:
        client = await w.connected()
        before = await w.engine.session(client)
        flood = w.client(OTHER_CLIENT, at=PARTNERS)
        async with trio.open_nursery() as nursery:

            async def ask_for_ever() -> None:
                while True:
                    await flood.send_init()

            nursery.start_soon(ask_for_ever)
            for _ in range(10):
                await until(lambda: w.engine.service("partners").new_sessions > 0)
                await w.engine.reload(service())
                assert w.engine.operations.status().sessions == 1
                await w.engine.reload(service(), flooding)
            nursery.cancel_scope.cancel()
        await require_untouched(w.engine, client, before)


@pytest.mark.trio
async def test_other_snat_addresses_take_over_without_ending_a_session(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        before = await w.engine.session(client)
        await w.engine.reload(service(snat_addresses=[address(31)]))
        await client.echo()
        after = await w.engine.session(client)
        assert after.row.id == before.row.id
        assert after.flows[-1].source.startswith(f"{address(31)}:")
        assert after.row.traffic == client.traffic


@pytest.mark.trio
async def test_another_kind_of_persistence_starts_without_records(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.connected()
        before = await w.engine.session(client)
        await w.engine.reload(service(persistence="none"))
        assert w.engine.service().persistence_records == 0
        await require_untouched(w.engine, client, before)
        again = await w.connected()
        (row,) = await w.engine.sessions(spi=f"{again.tunnel.spi_i:016x}")
        assert (row.server, row.why) == ("b", "scheduled by round-robin")


@pytest.mark.trio
async def test_a_server_comes_into_its_service_with_other_ports(tmp_path: Path) -> None:
    elsewhere = Server(HOSTS["a"], IKE_PORT + 7, NAT_T_PORT + 7)
    async with world(tmp_path) as w:
        await w.start(elsewhere)
        await w.connected()
        await w.engine.reload(service(real_server=[real_server("a", ike_port=IKE_PORT + 7, nat_t_port=NAT_T_PORT + 7)]))
        client = await w.connected()
        assert elsewhere.ike_sas == 1
        await w.engine.established(client)


@pytest.mark.trio
async def test_a_pool_address_that_is_not_this_machines_is_refused(tmp_path: Path) -> None:
    """Else every client that it stands for would get no answer, and it is always the one least used."""
    async with world(tmp_path) as w:
        with refused("invalid", "the running configuration stays") as refusal:
            await w.engine.reload(service(snat_addresses=["203.0.113.99"]))
        assert "this machine has no address 203.0.113.99" in "".join(refusal.details)


@pytest.mark.trio
async def test_a_services_totals_outlive_a_removed_server(tmp_path: Path) -> None:
    """A rate computed from them would otherwise go negative."""
    async with world(tmp_path, service(servers="ab")) as w:
        client = w.client()
        await client.connect()
        await client.echo()
        (before,) = w.engine.operations.status().services
        carrier = next(server.name for server in before.servers if server.traffic.packets_in)
        await w.engine.reload(service(servers="ab".replace(carrier, "")))
        (after,) = w.engine.operations.status().services
        assert after.traffic == before.traffic
