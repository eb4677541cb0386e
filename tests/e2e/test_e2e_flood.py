"""Floods of IKE_SA_INIT from forged addresses, while tunnels carry data and new clients come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.balancer import configuration
from harness.fast_path import await_fast
from harness.flood import SOURCES, flooding
from harness.lab import Lab
from harness.peers import Client, Profile
from harness.plan import Family
from harness.transfer import Transfer, transferring
from harness.waiting import eventually

from engine.control.status import ServiceStatus

pytestmark = pytest.mark.e2e

AT_LEAST, PER_S = 100_000, 20_000
THRESHOLD = 100
MOST_SESSIONS = 4 * THRESHOLD
"""Some more get in before the kernel knows that the service is flooded."""
MEASURED_S = 1.0
ANSWERED_SHARE = 0.9
LOST_SHARE = 0.05
"""Sender, network, servers and balancer share this machine's cores with the flood."""


@pytest.fixture
def flooded_lab(fast_lab: Lab) -> Iterator[Lab]:
    """The lab; the forged addresses are behind one of the clients, which forwards nothing."""
    lab, family = fast_lab, Family.IPV4
    via = lab.clients["c2"].node.addresses[family]
    lab.balancer.node.namespace.ip(f"route replace {SOURCES} via {via}")
    yield lab
    lab.balancer.node.namespace.ip(f"route del {SOURCES} via {via}")
    lab.balancer.close()
    lab.tidy()


def start(lab: Lab, setting: str) -> None:
    """Start the engine with one IPv4 service that asks for cookies when it is flooded."""
    config = configuration(lab.topology, "transparent", cookie_challenge="auto", cookie_threshold=THRESHOLD)
    lab.balancer.write(config | {"engine": {"fast_path": setting, "max_sessions": 20_000}})
    lab.balancer.start()


def service(lab: Lab) -> ServiceStatus:
    return lab.balancer.service(Family.IPV4)


def connected(lab: Lab, name: str) -> Client:
    client = lab.clients[name]
    client.connect(lab.vip[Family.IPV4], Profile.CERT, timeout_s=20)
    client.await_data()
    return client


def answered(lab: Lab) -> int:
    """Messages to which the kernel has demanded a cookie."""
    return lab.balancer.status().kernel.kept_off.get("challenged", 0)


def most_sessions(lab: Lab) -> int:
    """The largest number of sessions until enough of the flood has come."""
    seen: list[int] = []

    def enough() -> bool:
        seen.append(service(lab).sessions)
        return answered(lab) >= AT_LEAST

    eventually(enough, f"the kernel has answered {AT_LEAST} messages", timeout_s=30, step_s=0.2)
    return max(seen)


def echoed_per_s(transfer: Transfer) -> float:
    """How many datagrams of a transfer come back, while it goes on."""
    before, start_s = transfer.echoed, time.monotonic()
    time.sleep(MEASURED_S)
    return (transfer.echoed - before) / (time.monotonic() - start_s)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_flood_ends_in_the_kernel(flooded_lab: Lab, tmp_path: Path, mode: str) -> None:
    """Tunnels carry as much as before, a new client gets in, and the session table stays small."""
    lab = flooded_lab
    start(lab, mode)
    client = connected(lab, "c1")
    await_fast(lab, client)
    attacker, vip = lab.clients["c2"].node, lab.vip[Family.IPV4]
    with transferring(client, lab.servers[client.tunnel().server], every_s=0.001) as transfer:
        transfer.go_on(200)
        before_per_s = echoed_per_s(transfer)
        with flooding(attacker, vip, tmp_path, per_s=PER_S) as flood:
            eventually(lambda: service(lab).challenge.active, "the flood is noticed")
            during_per_s = echoed_per_s(transfer)
            newcomer = connected(lab, "n1")
            sessions = most_sessions(lab)
            sent = flood.stop()
        there, back = transfer.finish()
    eventually(lambda: answered(lab) > ANSWERED_SHARE * sent, "nearly all of the flood was answered in the kernel")
    eventually(lambda: service(lab).challenge.sent >= answered(lab), "the service has counted them, too")
    lost = len(there.lost) + len(back.lost)
    print(
        f"{mode}: a flood of {sent} messages, {PER_S} a second: {answered(lab)} answered in the kernel,"
        f" {sessions} sessions at most; {before_per_s:.0f} datagrams a second came back through a tunnel before"
        f" and {during_per_s:.0f} during it ({during_per_s / before_per_s:.2f}),"
        f" {lost} of {there.sent + back.sent} were lost"
    )
    assert sessions <= MOST_SESSIONS
    assert service(lab).challenge.accepted >= 1
    assert lost <= LOST_SHARE * (there.sent + back.sent)
    for one in (client, newcomer):
        one.await_data()


def test_new_clients_get_in_through_a_flood_on_the_slow_path(flooded_lab: Lab, tmp_path: Path) -> None:
    """Without the fast path the engine itself answers the flood; what is established stays."""
    lab = flooded_lab
    start(lab, "off")
    client = connected(lab, "c1")
    attacker, vip = lab.clients["c2"].node, lab.vip[Family.IPV4]
    with flooding(attacker, vip, tmp_path, per_s=PER_S // 4) as flood:
        eventually(lambda: service(lab).challenge.active, "the flood is noticed")
        newcomer = connected(lab, "n1")
        sessions = service(lab).sessions
        flood.stop()
    assert sessions <= MOST_SESSIONS
    assert service(lab).challenge.accepted >= 1
    for one in (client, newcomer):
        one.await_data()
