"""What changes around tunnels whose data passes in the kernel: the setting, devices, addresses, neighbours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from harness.balancer import HEALTH, configuration
from harness.fast_path import await_fast, check_fast, configure, start
from harness.lab import Lab
from harness.namespaces import Namespace
from harness.peers import Client, Profile
from harness.plan import LAN, WAN, Family, Segment
from harness.topology import Node, device_in, give_addresses
from harness.transfer import transferring
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

sources = pytest.mark.parametrize("source", ["transparent", "snat"])
segments = pytest.mark.parametrize("segment", [WAN, LAN], ids=lambda segment: segment.bridge)

REPLAY_WINDOW = 32
"""How far strongSwan lets packets come late."""
NEIGHBOUR_WITHIN_S = 2.0
PATIENT = HEALTH | {"fall": 10}
"""Servers that cannot be reached for a while, because of a device of the balancer, keep their clients."""


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    fast_lab.balancer.close()
    for segment, addresses in fast_lab.topology.arms.items():
        give_addresses(fast_lab.balancer.node, segment, device_in(segment), addresses)
    fast_lab.tidy()


def tunnel(lab: Lab, family: Family = Family.IPV4) -> Client:
    client = lab.clients["c1"]
    client.connect(lab.vip[family], Profile.CERT)
    await_fast(lab, client)
    return client


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@sources
def test_flows_change_paths_under_a_transfer_without_loss(fast_lab: Lab, source: str) -> None:
    """Nothing is lost or doubled, and no packet is overtaken by so many that a peer would drop it as replayed."""
    lab = fast_lab
    start(lab, source, "off")
    client = lab.clients["c1"]
    client.connect(lab.vip[Family.IPV4], Profile.CERT)
    client.await_data()
    with transferring(client, lab.servers[client.tunnel().server]) as transfer:
        for setting, mode in (("auto", "native"), ("off", "off"), ("generic", "generic"), ("native", "native")):
            transfer.go_on(50)
            configure(lab, source, setting)
            lab.balancer.hang_up()
            eventually(partial(is_settled, lab, mode), f"the fast path is {mode}")
            transfer.go_on(100)
        for passed in transfer.finish():
            assert (passed.lost, passed.doubled) == ([], 0)
            assert passed.furthest_behind < REPLAY_WINDOW


def test_flows_from_a_pool_get_sockets_when_the_fast_path_goes(fast_lab: Lab) -> None:
    """With their ports, in the midst of a transfer: nothing is lost. When it is back, new flows need none."""
    lab = fast_lab
    pool = [addresses[Family.IPV4] for addresses in lab.topology.snat[1:]]

    def configure_pool(setting: str) -> None:
        config = configuration(lab.topology, "snat") | {"engine": {"fast_path": setting}}
        config["service"][0]["snat_addresses"] = pool
        lab.balancer.write(config)

    configure_pool("auto")
    lab.balancer.start()
    eventually(lambda: lab.balancer.status().fast_path == "native", "the fast path is native")
    client = tunnel(lab)
    with transferring(client, lab.servers[client.tunnel().server]) as transfer:
        for setting, mode in (("off", "off"), ("auto", "native")):
            transfer.go_on(50)
            configure_pool(setting)
            lab.balancer.hang_up()
            eventually(partial(is_settled, lab, mode), f"the fast path is {mode}")
            eventually(lambda: lab.balancer.status().open_sockets == 2, "the flows have sockets")
            transfer.go_on(100)
        for passed in transfer.finish():
            assert (passed.lost, passed.doubled) == ([], 0)
    lab.clients["c2"].connect(lab.vip[Family.IPV4])
    assert lab.balancer.status().open_sockets == 2


def is_settled(lab: Lab, mode: str) -> bool:
    """Whether the fast path has a mode, and the one flow or none."""
    status = lab.balancer.status()
    return (status.fast_path, status.kernel.flows) == (mode, 0 if mode == "off" else 1)


@segments
def test_data_passes_in_the_kernel_again_after_a_device_was_down(fast_lab: Lab, segment: Segment) -> None:
    start(fast_lab, "transparent", health=PATIENT)
    client = tunnel(fast_lab)
    device, namespace = device_in(segment), fast_lab.balancer.node.namespace
    namespace.ip(f"link set {device} down")
    assert not client.ping(2).answered
    namespace.ip(f"link set {device} up")
    check_fast(fast_lab, client)


@segments
def test_data_passes_in_the_kernel_again_by_a_new_device(fast_lab: Lab, segment: Segment) -> None:
    """It has the name of the old one, and another index."""
    start(fast_lab, "transparent", health=PATIENT)
    client = tunnel(fast_lab)
    fast_lab.topology.replace_device(segment)
    check_fast(fast_lab, client)
    assert fast_lab.balancer.status().fast_path_reason == ""


@segments
def test_data_passes_in_the_kernel_again_after_a_devices_addresses_were_away(fast_lab: Lab, segment: Segment) -> None:
    """With them go the routes, and the address that servers see."""
    start(fast_lab, "snat", health=PATIENT)
    client = tunnel(fast_lab)
    device, balancer = device_in(segment), fast_lab.balancer.node
    balancer.namespace.ip(f"addr flush dev {device} scope global")
    eventually(lambda: not client.ping(2).answered, "nothing passes")
    give_addresses(balancer, segment, device, fast_lab.topology.arms[segment])
    check_fast(fast_lab, client)


@pytest.mark.parametrize(
    ("whose", "family"), [("server", Family.IPV4), ("server", Family.IPV6), ("client", Family.IPV4)]
)
def test_frames_go_to_a_neighbours_new_mac_address(fast_lab: Lab, family: Family, whose: str) -> None:
    """Soon after it has said something from there, for then the kernel knows."""
    start(fast_lab, "transparent", health=PATIENT)
    client = tunnel(fast_lab, family)
    node = client.node if whose == "client" else fast_lab.servers[client.tunnel().server].node
    change_mac(node.namespace, "eth0")
    speak(node, fast_lab)
    with at_most(NEIGHBOUR_WITHIN_S):
        await_fast(fast_lab, client)
    check_fast(fast_lab, client)


def change_mac(namespace: Namespace, device: str) -> None:
    (link,) = json.loads(namespace.run("ip", "-json", "link", "show", device))
    before = bytes.fromhex(link["address"].replace(":", ""))
    after = bytes([*before[:-1], before[-1] ^ 0xFF]).hex(":")
    namespace.ip(f"link set {device} address {after}")


def speak(node: Node, lab: Lab) -> None:
    """Have a machine say something to the balancer, in both families."""
    segment = LAN if node.name.startswith("rs") else WAN
    for address in lab.topology.arms[segment][0].values():
        node.namespace.run("ping", "-c1", "-W1", address)
