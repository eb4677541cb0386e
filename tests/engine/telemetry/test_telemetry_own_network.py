"""A device or an address that services stand on is missed as soon as it is gone, and what to do is told."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from telemetry_world import probed, real_server, service

from engine.net import own_network
from engine.net.own_network import LinkState, OwnNetwork, Place
from engine.telemetry.own_network import OwnNetworkWatch

WELL = OwnNetwork(
    {"lo": LinkState.UP, "wan0": LinkState.UP, "lan0": LinkState.UP},
    {"127.0.0.1": Place("lo", 8), "203.0.113.10": Place("wan0", 24), "10.0.0.1": Place("lan0", 16)},
)


class Machine:
    """One service with two servers, and the network as the kernel shows it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engine.telemetry.own_network.source_towards", lambda host: self.source)
        self.source: str | None = "10.0.0.1"
        self.servers = [real_server("a"), real_server("b")]
        for server in self.servers:
            probed(server, ok=True, now_s=0.0)
        self.service = service(*self.servers)
        self.network = WELL
        self.now_s = 0.0
        self.watch = OwnNetworkWatch(lambda: self.network)
        assert self.found(WELL) == {}

    def found(self, network: OwnNetwork) -> dict[str, tuple[str, str]]:
        """Text and remedy of each alarm when the network looks so."""
        self.network = network
        self.now_s += 1
        asked = self.watch.ask(self.watch.questions([self.service]))
        self.watch.take_in(*asked, [self.service], self.now_s)
        return {finding.kind: (finding.text, finding.remedy) for finding in self.watch.findings()}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def without(address: str) -> OwnNetwork:
    return replace(WELL, places={own: place for own, place in WELL.places.items() if own != address})


@pytest.mark.parametrize(
    ("device", "state", "text", "remedy"),
    [
        ("wan0", LinkState.DOWN, "wan0 is down: clients of vpn get no answers", "`ip link set wan0 up`"),
        ("lan0", LinkState.NO_CARRIER, "lan0 is without a carrier: vpn/a and vpn/b cannot be reached", "the cable"),
        ("lan0", LinkState.GONE, "lan0 is gone: vpn/a and vpn/b cannot be reached", "`dmesg` tells why it went"),
    ],
)
def test_a_device_that_cannot_carry_packets_is_named_with_those_who_suffer(
    machine: Machine, device: str, state: LinkState, text: str, remedy: str
) -> None:
    """Also when its addresses are gone with it."""
    others = {name: other for name, other in WELL.devices.items() if name != device}
    devices = others if state is LinkState.GONE else others | {device: state}
    for places in (
        WELL.places,
        {"127.0.0.1": Place("lo", 8)} | {k: v for k, v in WELL.places.items() if v.device != device},
    ):
        found = machine.found(OwnNetwork(devices, places))
        assert found.keys() == {"device-down"}
        assert found["device-down"][0] == text
        assert remedy in found["device-down"][1]
    assert machine.found(WELL) == {}


def test_an_address_that_is_gone_is_told_with_the_command_that_brings_it_back(machine: Machine) -> None:
    text, remedy = machine.found(without("203.0.113.10"))["address-gone"]
    assert text == "203.0.113.10 is on no device any more: clients of vpn get no answers"
    assert "`ip address add 203.0.113.10/24 dev wan0`" in remedy
    text, remedy = machine.found(without("10.0.0.1"))["address-gone"]
    assert text == "10.0.0.1 is on no device any more: vpn/a and vpn/b cannot be reached"
    assert "`ip address add 10.0.0.1/16 dev lan0`" in remedy
    assert machine.found(WELL) == {}


def test_the_address_towards_servers_is_the_one_that_was_used_while_they_answered(machine: Machine) -> None:
    """Without its route the kernel would use another one, which says nothing until a server answers by it."""
    machine.source = "203.0.113.10"
    for _ in range(2):
        assert "vpn/a and vpn/b" in machine.found(without("10.0.0.1"))["address-gone"][0]
    for server in machine.servers:
        probed(server, ok=False, now_s=machine.now_s)
    assert "address-gone" in machine.found(without("10.0.0.1"))
    for server in machine.servers:
        probed(server, ok=True, now_s=machine.now_s)
    assert machine.found(without("10.0.0.1")) == {}


def test_a_source_address_that_was_replaced_in_good_time_is_not_missed(machine: Machine) -> None:
    """IPv6 privacy addresses: the kernel uses a new one for days before the old one goes."""
    both = replace(WELL, places={**WELL.places, "10.0.0.2": Place("lan0", 16)})
    assert machine.found(both) == {}
    for server in machine.servers:
        probed(server, ok=True, now_s=machine.now_s + 1)
    assert machine.found(both) == {}
    machine.source = "10.0.0.2"
    for _ in machine.servers:
        assert machine.found(both) == {}
    assert machine.found(replace(both, places={k: v for k, v in both.places.items() if k != "10.0.0.1"})) == {}


def test_few_servers_are_asked_about_again_and_each_in_its_turn() -> None:
    servers = [real_server(f"s{number}") for number in range(10)]
    vpn = service(*servers)
    for number, server in enumerate(servers):
        server.address = f"10.0.1.{number}"
        probed(server, ok=True, now_s=1.0)
    watch = OwnNetworkWatch(lambda: WELL)
    asked: list[list[str]] = []
    for turn in range(5):
        asked.append(watch.questions([vpn]))
        watch.take_in(WELL, dict.fromkeys(asked[-1], "10.0.0.1"), [vpn], float(turn))
    assert [len(some) for some in asked] == [10, 10, 4, 4, 4]
    assert len({host for some in asked[2:] for host in some}) == 10


def test_addresses_of_a_source_pool_are_missed_too(machine: Machine) -> None:
    machine.service.snat_pool = ("10.0.0.2",)
    with_pool = replace(WELL, places={**WELL.places, "10.0.0.2": Place("lan0", 16)})
    assert machine.found(with_pool) == {}
    assert machine.found(WELL)["address-gone"][0].endswith("clients of vpn whose packets leave from it are cut off")


def test_an_address_that_was_never_on_a_device_is_none_that_was_lost() -> None:
    """A route of type local makes one of any prefix."""
    watch = OwnNetworkWatch(lambda: without("203.0.113.10"))
    watch.take_in(*watch.ask([]), [service()], 1.0)
    assert list(watch.findings()) == []


def test_the_kernel_tells_of_this_machine() -> None:
    found = own_network.look()
    assert found.state_of("lo") is LinkState.UP
    assert found.places["127.0.0.1"] == Place("lo", 8)
    assert found.state_of("nowhere0") is LinkState.GONE
    assert own_network.source_towards("127.0.0.1") == "127.0.0.1"


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.parametrize(
    "addresses",
    [("192.0.2.7/32 dev lo", "192.0.2.7/32 dev d0"), ("192.0.2.7/32 dev lo label lo:vip",)],
    ids=["on-two-devices", "with-a-label"],
)
def test_an_address_is_on_a_device_by_which_packets_can_pass(addresses: tuple[str, ...]) -> None:
    """As one that moved away from a device whose cable was pulled; a label (`eth0:1`) is no device."""
    steps = ["link set lo up", "link add d0 type veth peer name d1", *(f"address add {each}" for each in addresses)]
    told = "from engine.net.own_network import look; print(look().places['192.0.2.7'].device)"
    script = " && ".join([*(f"ip {step}" for step in steps), f'{sys.executable} -c "{told}"'])
    run = ["unshare", "--net", "sh", "-c", script]
    assert subprocess.run(run, check=True, capture_output=True, text=True, timeout=30).stdout == "lo\n"
