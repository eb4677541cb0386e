"""The balancer's own network fails and comes back: tunnels go on by themselves, and the operator is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness import settings
from harness.fault_table import Report
from harness.faults import Outcome, under_load
from harness.lab import Lab
from harness.plan import LAN, WAN, Family, Segment
from harness.settings import FAST, FAST_SNAT, SLOW, SLOW_SNAT, Setting, await_alarm, await_no_alarm, in_settings
from harness.topology import device_in, give_addresses

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

segments = pytest.mark.parametrize("segment", [WAN, LAN], ids=lambda segment: segment.bridge)

OPTIONS = {Family.IPV4: "-4", Family.IPV6: "-6"}
UPLINK = LAN.host(254)
"""The router between balancer and clients, where the balancer has one arm."""
SHORT_S, LONG_S = 1.0, 4.0
BACK_WITHIN_S = 2.0
"""After all is as it was: hosts find each other's MAC addresses again, and probes the servers."""


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for lab in request.node.funcargs.values():
        if isinstance(lab, Lab):
            for segment, addresses in lab.topology.arms.items():
                lab.balancer.node.namespace.ip(f"link set {device_in(segment)} up")
                give_addresses(lab.balancer.node, segment, device_in(segment), addresses)
            settings.tidy(lab)


def begun(lab: Lab, setting: Setting) -> None:
    setting.configure(lab)
    setting.start(lab)


def back_in_time(outcome: Outcome, away_s: float) -> None:
    """No session is lost, and no tunnel was silent for much longer than the fault lasted."""
    assert outcome.sessions_lost == 0, outcome
    assert outcome.silence_s < away_s + BACK_WITHIN_S, (outcome, away_s)


@segments
@pytest.mark.parametrize("away_s", [SHORT_S, LONG_S], ids=["short", "long"])
@in_settings(FAST, SLOW_SNAT)
def test_tunnels_go_on_after_a_device_was_down(
    fast_lab: Lab, setting: Setting, away_s: float, segment: Segment, report_fault: Report
) -> None:
    """IPv6 addresses go with it; whoever manages the network gives them back as soon as it is up."""
    lab, balancer, device = fast_lab, fast_lab.balancer.node, device_in(segment)
    begun(lab, setting)
    with under_load(lab, setting.connect(lab)) as load:
        began_s = time.monotonic()
        balancer.namespace.ip(f"link set {device} down")
        time.sleep(away_s)
        told = await_alarm(lab, "device-down") if away_s == LONG_S else ""
        balancer.namespace.ip(f"link set {device} up")
        give_addresses(balancer, segment, device, lab.topology.arms[segment])
        gone_s = time.monotonic() - began_s
        outcome = load.outcome()
        await_no_alarm(lab, "device-down")
    back_in_time(outcome, gone_s)
    if told:
        assert f"`ip link set {device} up`" in told
    side = "clients" if segment is WAN else "servers"
    report_fault(
        f"the device towards the {side} is down for {away_s:.0f} s",
        str(setting),
        outcome,
        told=f"device-down: {told}" if told else "",
    )


@in_settings(FAST, SLOW)
def test_tunnels_go_on_after_the_services_address_was_away(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    lab, namespace = fast_lab, fast_lab.balancer.node.namespace
    begun(lab, setting)
    with under_load(lab, setting.connect(lab)) as load:
        began_s = time.monotonic()
        namespace.ip(*(f"addr del {lab.vip[family]}/{WAN.prefix_length(family)} dev wan0" for family in Family))
        told = await_alarm(lab, "address-gone")
        give_addresses(lab.balancer.node, WAN, "wan0", lab.topology.arms[WAN])
        gone_s = time.monotonic() - began_s
        outcome = load.outcome()
        await_no_alarm(lab, "address-gone")
    back_in_time(outcome, gone_s)
    assert f"`ip address add {lab.vip[Family.IPV4]}/24 dev wan0`" in told
    report_fault(
        "the services' addresses are taken away and given back", str(setting), outcome, told=f"address-gone: {told}"
    )


@in_settings(FAST, FAST_SNAT, SLOW_SNAT)
def test_tunnels_go_on_after_the_addresses_towards_the_servers_were_away(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """With them go the routes to the servers and, with snat, the source of every flow."""
    lab, namespace = fast_lab, fast_lab.balancer.node.namespace
    begun(lab, setting)
    with under_load(lab, setting.connect(lab)) as load:
        began_s = time.monotonic()
        namespace.ip("addr flush dev lan0 scope global")
        told = await_alarm(lab, "address-gone")
        give_addresses(lab.balancer.node, LAN, "lan0", lab.topology.arms[LAN])
        gone_s = time.monotonic() - began_s
        outcome = load.outcome()
        await_no_alarm(lab, "address-gone")
    back_in_time(outcome, gone_s)
    assert "cannot be reached" in told
    assert "dev lan0`" in told
    report_fault(
        "the addresses towards the servers are taken away and given back",
        str(setting),
        outcome,
        told=f"address-gone: {told}",
    )


@pytest.mark.parametrize("setting", [FAST, SLOW], ids=str)
def test_tunnels_go_on_after_the_default_route_was_away(
    fast_single_arm_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    lab, namespace = fast_single_arm_lab, fast_single_arm_lab.balancer.node.namespace
    begun(lab, setting)
    with under_load(lab, setting.connect(lab)) as load:
        began_s = time.monotonic()
        for option in OPTIONS.values():
            namespace.run("ip", option, "route", "del", "default")
        told = await_alarm(lab, "no-route-back")
        for family, option in OPTIONS.items():
            namespace.run("ip", option, "route", "add", "default", "via", UPLINK[family])
        gone_s = time.monotonic() - began_s
        outcome = load.outcome()
        await_no_alarm(lab, "no-route-back", timeout_s=25)
    back_in_time(outcome, gone_s)
    report_fault("the default route is deleted and added", str(setting), outcome, told=f"no-route-back: {told}")


@in_settings(FAST, SLOW)
def test_all_goes_on_when_the_kernel_forgets_its_neighbours(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    lab, namespace = fast_lab, fast_lab.balancer.node.namespace
    begun(lab, setting)
    with under_load(lab, setting.connect(lab)) as load:
        for _ in range(5):
            for segment in lab.topology.arms:
                namespace.ip(f"neigh flush dev {device_in(segment)}")
            load.go_on()
        outcome = load.outcome()
    back_in_time(outcome, 0.0)
    report_fault("the kernel's neighbours are flushed 5 times", str(setting), outcome)
