"""Tunnels of real IKE daemons whose data passes the balancer in the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.balancer import configuration
from harness.fast_path import Counted, check_fast, check_transfer, session_of, start
from harness.lab import Lab
from harness.peers import Client, Profile
from harness.plan import LAN, Family
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

sources = pytest.mark.parametrize("source", ["transparent", "snat"])


def connect(lab: Lab) -> dict[Family, Client]:
    """A client for each family, with a tunnel."""
    clients = dict(zip(Family, (lab.clients["c1"], lab.clients["c2"]), strict=True))
    for family, client in clients.items():
        client.connect(lab.vip[family], Profile.CERT)
    return clients


def check_tunnels(lab: Lab, source: str) -> None:
    clients = connect(lab)
    check_fast(lab, *clients.values())
    for family, client in clients.items():
        seen = lab.servers[client.tunnel().server].sa_of(client).remote_host
        if source == "transparent":
            assert seen == client.node.addresses[family]
        else:
            assert seen in {addresses[family] for addresses in lab.topology.arms[LAN]}


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for lab in request.node.funcargs.values():
        if isinstance(lab, Lab):
            lab.balancer.close()
            lab.tidy()


@sources
def test_data_passes_in_the_kernel_between_two_networks(fast_lab: Lab, source: str) -> None:
    """With IPv4 and IPv6, and the servers see the source that is configured."""
    status = start(fast_lab, source)
    assert (status.fast_path, status.fast_path_reason) == ("native", "")
    check_tunnels(fast_lab, source)


@sources
def test_data_passes_in_the_kernel_through_one_device(fast_single_arm_lab: Lab, source: str) -> None:
    """Frames leave by the device that they came in by."""
    status = start(fast_single_arm_lab, source)
    assert (status.fast_path, [device.name for device in status.kernel.devices]) == ("native", ["lan0"])
    check_tunnels(fast_single_arm_lab, source)


@pytest.mark.parametrize(("profile", "sockets"), [(Profile.PSK, 0), (Profile.BIG_CERT, 2)], ids=["small", "fragments"])
def test_tunnels_from_a_pool_take_sockets_for_fragments_only(fast_lab: Lab, profile: Profile, sockets: int) -> None:
    """The kernel brings their answers to one socket, and their data takes the fast path as ever."""
    config = configuration(fast_lab.topology, "snat")
    pools = {family: [addresses[family] for addresses in fast_lab.topology.snat[1:]] for family in Family}
    for service, pool in zip(config["service"], pools.values(), strict=True):
        service["snat_addresses"] = pool
    fast_lab.balancer.write(config)
    fast_lab.balancer.start()
    eventually(lambda: fast_lab.balancer.status().fast_path == "native", "the fast path is on")
    clients = [fast_lab.clients["c1"], fast_lab.clients["c2"]]
    for client, family in zip(clients, Family, strict=True):
        client.connect(fast_lab.vip[family], profile)
        assert fast_lab.servers[client.tunnel().server].sa_of(client).remote_host in pools[family]
    check_fast(fast_lab, *clients)
    assert fast_lab.balancer.status().open_sockets == sockets
    for client in clients:
        client.rekey("ike")
        client.await_data()


def test_kernel_sessions_and_servers_count_the_same_packets(fast_lab: Lab) -> None:
    """Those that were sent, not one more or less."""
    start(fast_lab, "transparent")
    clients = connect(fast_lab).values()
    check_fast(fast_lab, *clients)
    before = Counted.read(fast_lab, clients)
    packets = sum(check_transfer(fast_lab, client) for client in clients)
    assert Counted.read(fast_lab, clients).since(before) == Counted(packets, packets, packets)
    assert {session_of(fast_lab, client).path for client in clients} == {"fast"}


def test_clients_behind_one_nat_have_a_flow_each(fast_lab: Lab) -> None:
    """They differ only in the port that the NAT gave them."""
    start(fast_lab, "transparent")
    clients = [fast_lab.clients["n1"], fast_lab.clients["n2"]]
    for client in clients:
        client.connect(fast_lab.vip[Family.IPV4], Profile.CERT)
    check_fast(fast_lab, *clients)
    assert fast_lab.balancer.status().kernel.flows == len(clients)
    nat = fast_lab.topology.nodes["nat"].addresses[Family.IPV4]
    assert [flow.source for flow in fast_lab.balancer.kernel_flows()].count(nat) == len(clients)
