"""How long a flow stays in the kernel, and which packets it does not take."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness.fast_path import await_fast, check_fast, start
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import Family
from harness.transfer import transferring
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))

SMALL_MTU_BYTES = 1300
BIG_BYTES = 1300
IDLE_S = 2
KEEPALIVE_S = 1


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    fast_lab.balancer.close()
    fast_lab.tidy()


@families
def test_packets_too_big_for_the_way_are_fragmented_on_the_slow_path(fast_lab: Lab, family: Family) -> None:
    """Small ones of the same tunnel stay in the kernel."""
    lab = fast_lab
    start(lab, "transparent")
    client = lab.clients["c1"]
    client.connect(lab.vip[family], Profile.CERT)
    await_fast(lab, client)
    server = lab.servers[client.tunnel().server]
    address, namespace = server.node.addresses[family], lab.balancer.node.namespace
    namespace.ip(f"route add {address} dev lan0 mtu lock {SMALL_MTU_BYTES}")
    try:
        lab.watch()
        with transferring(client, server, size_bytes=BIG_BYTES) as transfer:
            transfer.go_on(20)
            there, back = transfer.finish()
        assert (there.lost, back.lost) == ([], [])
        assert lab.seen_by(server.node.name).fragments >= there.sent
        eventually(
            lambda: lab.balancer.status().kernel.passed_up.get("oversize", 0) >= there.sent, "oversize ones are counted"
        )
        check_fast(lab, client)
    finally:
        namespace.ip(f"route del {address} dev lan0")


def test_keepalives_in_the_kernel_keep_a_flow_and_silence_ends_it(fast_lab: Lab) -> None:
    """The engine sees none of them, but by the kernel's note of when it last used the flow."""
    lab, client = fast_lab, fast_lab.clients["n1"]
    start(lab, "transparent", timeouts={"nat_t_idle": f"{IDLE_S}s"})
    client.connect(lab.vip[Family.IPV4], Profile.CERT)
    await_fast(lab, client)
    time.sleep(IDLE_S + KEEPALIVE_S)
    assert lab.balancer.status().kernel.flows == 1

    client.charon.kill()
    try:
        eventually(lambda: lab.balancer.status().kernel.flows == 0, "the silent flow is forgotten")
        assert lab.balancer.kernel_flows() == []
    finally:
        client.charon.launch()
        client.charon.await_ready()
