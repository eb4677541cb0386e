"""Clients that come from elsewhere in the middle of a tunnel, and many that come from one address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness import fast_path
from harness.balancer import configuration
from harness.certificates import Authority
from harness.crowd import crowd
from harness.lab import Lab, open_lab
from harness.peers import Client, Profile, Tunnel
from harness.plan import WAN, Family
from harness.roaming import know_only, map_anew, move, move_home
from harness.waiting import eventually

from engine.control.calls import Explain

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))
sources = pytest.mark.parametrize("source", ["transparent", "snat"])

PING_INTERVAL_S = 0.02
OUTAGE_S = 4.0
"""A client needs about a second to notice that it has moved, and an exchange or two to tell its server."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, authority: Authority, fast_path_machine: None) -> Iterator[Lab]:
    """One client, two more behind one NAT, three servers; the balancer's devices take redirected frames."""
    with open_lab(tmp_path_factory.mktemp("roaming"), authority, clients=1, nat_clients=2) as made:
        made.topology.take_redirected_frames()
        yield made


@pytest.fixture
def roaming_lab(fresh_lab: Lab) -> Iterator[Lab]:
    """The lab, its NAT put back to what it was."""
    yield fresh_lab
    map_anew(fresh_lab.topology.nodes["nat"])


def elsewhere(lab: Lab, family: Family, server: str) -> str:
    """An address of the clients' segment from which a new client would be sent to another server."""
    for number in range(150, 200):
        address = WAN.host(number)[family]
        (explained,) = lab.balancer.ask(Explain(client=address))
        if explained.next_server != server:
            return address
    raise AssertionError("every address is sent to the same server")


@contextmanager
def away(lab: Lab, client: Client, tunnel: Tunnel, family: Family) -> Iterator[int]:
    """Move a client while it pings, for as long as the block runs: it stays on its server; how many packets were lost.

    At home again it may speak both families, and has another service in the other one if it chooses to.
    """
    address = elsewhere(lab, family, tunnel.server)
    lab.watch()
    know_only(client, family)
    ping = client.start_ping(PING_INTERVAL_S)
    try:
        ping.await_answers(10)
        move(client, family, address)
        try:
            eventually(lambda: client.tunnel().sa.local_host == address, "the client knows that it has moved")
            ping.await_answers(50)
            lost = len(ping.finish().gaps)
            now = client.tunnel()
            spis = (now.sa.initiator_spi, now.child.spi_out)
            assert lab.servers_that_saw(*spis) == {tunnel.server}
            assert now.server == tunnel.server
            yield lost
        finally:
            move_home(client, family, address)
    finally:
        ping.abandon()


@families
@sources
@pytest.mark.parametrize("setting", ["auto", "off"])
def test_a_client_that_moves_keeps_its_server(roaming_lab: Lab, source: str, family: Family, setting: str) -> None:
    """MOBIKE (RFC 4555): by its new address alone the client would be sent to another server."""
    lab = roaming_lab
    fast_path.start(lab, source, setting, scheduler="source-hash")
    client = lab.clients["c1"]
    tunnel = client.connect(lab.vip[family])
    client.await_data()
    if setting == "auto":
        fast_path.await_fast(lab, client)
    with away(lab, client, tunnel, family) as lost:
        print(f"lost {lost} packets of one every {PING_INTERVAL_S * 1000:.0f} ms")
        assert lost * PING_INTERVAL_S < OUTAGE_S
        row = fast_path.session_of(lab, client)
        assert (row.phase, row.server) == ("moved", tunnel.server)
        assert lab.balancer.service(family).sessions == 1


@families
def test_a_client_that_rekeyed_everything_moves_and_keeps_its_server(roaming_lab: Lab, family: Family) -> None:
    """None of the SPIs in its packets was ever seen in the clear."""
    lab = roaming_lab
    fast_path.start(lab, "transparent", scheduler="source-hash")
    client = lab.clients["c1"]
    tunnel = client.connect(lab.vip[family])
    client.rekey("ike")
    client.rekey("child")
    client.await_data()
    with away(lab, client, tunnel, family) as lost:
        assert lost * PING_INTERVAL_S < OUTAGE_S


@sources
def test_a_nat_that_maps_anew_takes_no_tunnel_away(roaming_lab: Lab, source: str) -> None:
    """The client does not know of it until its next liveness check; what it sends meanwhile reaches its server."""
    lab = roaming_lab
    fast_path.start(lab, source, scheduler="round-robin", persistence="ike-spi")
    clients = [lab.clients["n1"], lab.clients["n2"]]
    tunnels = [client.connect(lab.vip[Family.IPV4], Profile.CERT, dpd_delay_s=1) for client in clients]
    assert tunnels[0].server != tunnels[1].server
    for client in clients:
        client.await_data()
        checks = client.charon.counter("info-out-req")
        eventually(lambda: client.charon.counter("info-out-req") > checks, "a liveness check was made")  # noqa: B023
    lab.watch()
    map_anew(lab.topology.nodes["nat"], ports="20000-29999")
    for client, tunnel in zip(clients, tunnels, strict=True):
        client.await_data()
        now = client.tunnel()
        assert now.server == tunnel.server
        assert lab.servers_that_saw(now.sa.initiator_spi, now.child.spi_out) == {tunnel.server}
    assert lab.balancer.service(Family.IPV4).sessions == 2


@sources
def test_a_nat_with_an_address_for_each_port_breaks_no_tunnel(roaming_lab: Lab, source: str) -> None:
    """Carriers' NATs may map 500 and 4500 of one client to different addresses."""
    lab = roaming_lab
    addresses = [WAN.host(number)[Family.IPV4] for number in (60, 61)]
    map_anew(lab.topology.nodes["nat"], ike_address=addresses[0], address=addresses[1])
    lab.balancer.write(configuration(lab.topology, source, scheduler="round-robin", persistence="none"))
    lab.balancer.start()
    for name in ("n1", "n2"):
        client = lab.clients[name]
        tunnel = client.connect(lab.vip[Family.IPV4])
        client.await_data()
        assert lab.servers_that_saw(tunnel.sa.initiator_spi, tunnel.child.spi_out) == {tunnel.server}
    assert lab.balancer.service(Family.IPV4).sessions == 2


def test_an_office_behind_one_address_spreads_over_all_servers(roaming_lab: Lab, authority: Authority) -> None:
    lab = roaming_lab
    lab.balancer.write(
        configuration(lab.topology, "transparent", persistence="ike-spi", scheduler="weighted-round-robin")
    )
    lab.balancer.start()
    with crowd(lab.clients["n1"], 45, authority) as office:
        has = office.connect(lab.vip[Family.IPV4])
        assert sorted(has.values()) == [15, 15, 15]
        shown = lab.balancer.service(Family.IPV4)
        assert {server.name: server.sessions for server in shown.servers} == has
