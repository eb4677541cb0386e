"""Tunnels of real IKE daemons through the engine: set up, kept alive, and always on one server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.peers import Client, Profile, Tunnel
from harness.plan import Family
from harness.waiting import eventually

from engine.control.records import SessionRow
from engine.sessions.session import Phase

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))


@pytest.fixture(scope="module", params=["transparent", "snat"])
def source(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """What the servers see, with an engine that runs so."""
    lab.balancer.write(configuration(lab.topology, request.param))
    lab.balancer.start()
    yield request.param
    lab.balancer.stop()


@pytest.fixture(autouse=True)
def _tidy(source: str, lab: Lab) -> Iterator[None]:
    lab.watch()
    yield
    lab.tidy()


def session_of(lab: Lab, tunnel: Tunnel) -> SessionRow:
    """The engine's one session with a tunnel's present SPIs."""
    (row,) = lab.balancer.sessions("--spi", tunnel.sa.initiator_spi)
    return row


def outer_address(lab: Lab, client: Client, family: Family) -> str:
    """The address a client has outside: its NAT's where it is behind one."""
    node = lab.topology.nodes["nat"] if client.node.name.startswith("n") else client.node
    return node.addresses[family]


def _answered_since(client: Client, before: int) -> bool:
    return client.charon.counter("info-in-resp") > before


@families
def test_the_console_shows_a_tunnel_on_the_server_that_strongswan_says(lab: Lab, family: Family) -> None:
    client = lab.clients["c1"]
    tunnel = client.connect(lab.vip[family], Profile.CERT)
    client.await_data()

    row = session_of(lab, tunnel)
    assert row.server == tunnel.server
    assert row.phase == Phase.ESTABLISHED
    assert row.client.strip("[").startswith(client.node.addresses[family])
    assert (row.spi_i, row.spi_r) == (tunnel.sa.initiator_spi, tunnel.sa.responder_spi)
    eventually(
        lambda: min(session_of(lab, tunnel).traffic.packets_in, session_of(lab, tunnel).traffic.packets_out) >= 5,
        "the data is counted, whichever path it takes",
    )


@families
def test_every_packet_of_a_client_meets_one_server_through_rekeying_and_liveness_checks(
    lab: Lab, family: Family
) -> None:
    clients = lab.clients.values()
    tunnels = {client.node.name: client.connect(lab.vip[family], Profile.CERT, dpd_delay_s=1) for client in clients}
    assert {tunnels[name].server for name in ("c1", "c2", "c3")} == set(lab.servers)
    assert tunnels["n1"].server == tunnels["n2"].server, "one address persists on one server"

    for client in clients:
        name = client.node.name
        first = tunnels[name]
        client.await_data()
        second = client.rekey("child")
        client.await_data()
        third = client.rekey("ike")
        client.await_data()
        tunnels[name] = third
        spis = {spi for each in (first, second, third) for spi in (each.sa.initiator_spi, each.child.spi_out)}
        assert len(spis) == 4
        assert lab.servers_that_saw(*spis) == {first.server}

    answered = {client.node.name: client.charon.counter("info-in-resp") for client in clients}
    for client in clients:
        eventually(partial(_answered_since, client, answered[client.node.name]), "a liveness check is answered")
        tunnel = client.tunnel()
        assert tunnel.sa.initiator_spi == tunnels[client.node.name].sa.initiator_spi
        assert session_of(lab, tunnel).server == tunnel.server


@families
def test_big_certificates_pass_in_ip_fragments_both_ways(lab: Lab, family: Family) -> None:
    client = lab.clients["c1"]
    tunnel = client.connect(lab.vip[family], Profile.BIG_CERT)
    client.await_data()
    assert lab.seen_by(tunnel.server).fragments > 0
    assert lab.seen_by("c1").fragments > 0


@pytest.mark.parametrize("how", [(), ("--nat-t",)], ids=["ike", "nat-t"])
def test_ike_scan_gets_its_answer(lab: Lab, how: tuple[str, ...]) -> None:
    # From the NAT itself: ike-scan wants port 4500 for itself, which the clients' daemons have.
    said = lab.topology.nodes["nat"].namespace.run(
        "ike-scan", "--ikev2", "--retry=2", "--timeout=1000", *how, lab.vip[Family.IPV4]
    )
    assert "1 returned handshake" in said


@families
def test_servers_see_what_the_source_key_says(lab: Lab, source: str, family: Family) -> None:
    for name in ("c1", "n1", "n2"):
        client = lab.clients[name]
        tunnel = client.connect(lab.vip[family])
        client.await_data()
        sa = lab.servers[tunnel.server].sa_of(client)
        seen = lab.seen_by(tunnel.server).peers
        match source:
            case "transparent":
                assert sa.remote_host == outer_address(lab, client, family)
                if name == "c1":
                    assert sa.remote_port == 4500
                    assert {(sa.remote_host, 500), (sa.remote_host, 4500)} <= seen
            case "snat":
                assert sa.remote_host in {addresses[family] for addresses in lab.topology.snat}
                assert outer_address(lab, client, family) not in {address for address, _ in seen}


@families
def test_a_server_speaks_first_to_an_idle_client(lab: Lab, family: Family) -> None:
    client = lab.clients["c3"]
    tunnel = client.connect(lab.vip[family], Profile.PSK)
    server = lab.servers[tunnel.server]
    answered = server.charon.counter("info-in-resp")
    eventually(lambda: server.charon.counter("info-in-resp") > answered, "the client answers the server's DPD")

    time.sleep(0.5)
    server.rekey(client, "child")
    tunnel = client.await_change(tunnel, "child")
    server.rekey(client, "ike")
    tunnel = client.await_change(tunnel, "ike")
    client.await_data()
    assert lab.servers_that_saw(tunnel.sa.responder_spi, tunnel.child.spi_out) <= {tunnel.server}

    server.delete(client)
    eventually(lambda: not client.charon.sas(), "the client hears that the server closed the tunnel")
