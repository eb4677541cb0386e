"""What a transparent engine puts into the kernel: there while it runs, put back at need, gone after it, never twice."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from harness import fast_path
from harness.balancer import configuration
from harness.lab import Lab
from harness.plan import Family
from harness.waiting import eventually

from engine.control.calls import ListEvents

pytestmark = pytest.mark.e2e

MARK = "0x1ce"
TABLE = "466"
EVERY_S = 0.01
LOST_AT_MOST_S = 1.0


def rules(lab: Lab, option: str) -> list[Any]:
    said = lab.balancer.node.namespace.run("ip", "-json", option, "rule", "show")
    return [rule for rule in json.loads(said) if rule.get("fwmark") == MARK and rule["table"] == TABLE]


def routes(lab: Lab, option: str) -> list[str]:
    # Without check: ip fails when the table has never had a route.
    return lab.balancer.node.namespace.run("ip", option, "route", "show", "table", TABLE, check=False).splitlines()


def tables(lab: Lab) -> list[str]:
    said = json.loads(lab.balancer.node.namespace.run("nft", "-j", "list", "tables"))
    return [item["table"]["name"] for item in said["nftables"] if "table" in item]


def counts(lab: Lab) -> tuple[int, int, int, int, int]:
    return (
        len(rules(lab, "-4")),
        len(rules(lab, "-6")),
        len(routes(lab, "-4")),
        len(routes(lab, "-6")),
        len(tables(lab)),
    )


def test_the_return_path_lives_as_long_as_the_engine(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    assert counts(lab) == (0, 0, 0, 0, 0)
    lab.balancer.start()
    assert counts(lab) == (1, 1, 1, 1, 1)
    assert lab.balancer.stop() == 0
    assert counts(lab) == (0, 0, 0, 0, 0)


def test_an_engine_that_was_killed_is_followed_by_one_that_finds_its_leftovers(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    lab.balancer.start()
    lab.balancer.stop(signal.SIGKILL)
    assert counts(lab) == (1, 1, 1, 1, 1)
    lab.balancer.start()
    assert counts(lab) == (1, 1, 1, 1, 1)

    client = lab.clients["c1"]
    client.connect(lab.vip[Family.IPV4])
    client.await_data()
    assert lab.balancer.stop() == 0
    assert counts(lab) == (0, 0, 0, 0, 0)


def test_an_snat_engine_leaves_the_kernel_alone(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "snat"))
    lab.balancer.start()
    assert counts(lab) == (0, 0, 0, 0, 0)


def events(lab: Lab, kind: str) -> list[str]:
    return [event.text for event in lab.balancer.ask(ListEvents(limit=200)) if event.kind == kind]


def alarms(lab: Lab) -> dict[str, str]:
    return {alarm.kind: alarm.remedy for alarm in lab.balancer.status().alarms}


FIREWALL = (
    "nft add table inet filter; "
    "nft add chain inet filter forward '{ type filter hook forward priority filter; policy drop; }'"
)
"""Else what nobody brings back would be routed on, with the server's address, and these clients accept even that."""
TAKEN_AWAY = {
    "a firewall's restart": (f"nft flush ruleset; {FIREWALL}", "restart of nftables.service"),
    "rules": (
        "ip rule flush; ip rule add lookup main pref 32766; ip -6 rule flush; ip -6 rule add lookup main pref 32766",
        "ManageForeignRoutingPolicyRules=no",
    ),
    "routes": ("ip route flush table 466; ip -6 route flush table 466", "ManageForeignRoutes=no"),
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_tunnels_on_the_slow_path_go_on_when_somebody_takes_the_return_path_away(fresh_lab: Lab, what: str) -> None:
    """It is put back within a second, under the tunnel's data of both families, and who likely did it is told."""
    lab, (command, culprit) = fresh_lab, TAKEN_AWAY[what]
    namespace = lab.balancer.node.namespace
    fast_path.start(lab, "transparent", "off")
    clients = {lab.clients["c1"]: Family.IPV4, lab.clients["c2"]: Family.IPV6}
    for client, family in clients.items():
        client.connect(lab.vip[family])
        client.await_data()
    before = counts(lab)[:4]
    namespace.run("sh", "-c", FIREWALL)
    pings = [client.start_ping(EVERY_S) for client in clients]
    try:
        for ping in pings:
            ping.await_answers(50)
        namespace.run("sh", "-c", command)
        for ping in pings:
            ping.await_answers(200)
        lost = [len(ping.finish().gaps) for ping in pings]
    finally:
        for ping in pings:
            ping.abandon()
    print(f"{what}: lost of one packet every {EVERY_S} s: {lost}")
    # If none were lost, nothing was tried.
    assert all(0 < packets <= LOST_AT_MOST_S / EVERY_S for packets in lost)
    (told,) = events(lab, "return-path-restored")
    assert culprit in told
    assert (counts(lab)[:4], sorted(tables(lab))) == (before, ["filter", "ikeconsole"])
    namespace.run("nft", "delete", "table", "inet", "filter")


def test_what_cannot_be_put_back_is_an_alarm_until_it_can(fresh_lab: Lab) -> None:
    """Without lo no route leads to it; when it is up again the next tunnel works, and the alarm is over."""
    lab, client = fresh_lab, fresh_lab.clients["c1"]
    fast_path.start(lab, "transparent", "off")
    lab.balancer.node.namespace.run("ip", "link", "set", "lo", "down")
    try:
        remedy = eventually(lambda: alarms(lab).get("return-path-gone"), "an alarm stands")
        assert remedy
        assert f"table {TABLE}` failed" in remedy
    finally:
        lab.balancer.node.namespace.run("ip", "link", "set", "lo", "up")
    eventually(lambda: "return-path-gone" not in alarms(lab), "the alarm is over")
    assert len(events(lab, "return-path-restored")) == 1
    client.connect(lab.vip[Family.IPV4])
    client.await_data()
