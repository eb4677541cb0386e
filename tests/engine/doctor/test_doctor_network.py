"""What the doctor concludes of devices and routes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doctor_facts import INSIDE, SERVERS, VIP, network, only, service
from netaddr import IPAddress

from engine.advise.routes import Route
from engine.config.schema import Config, RealServer, Source
from engine.doctor.forwarding import judge_forwarding
from engine.doctor.network import CLIENT, Device, look_at_network
from engine.doctor.rp_filter import command_for, judge_rp_filter
from engine.doctor.sizes import Fragments, judge_fragments, judge_mtu
from engine.doctor.ways import judge_routes_to_clients, judge_routes_to_servers

TRANSPARENT = Config(services=[service("vpn")])
SNAT = Config(services=[service("vpn", source=Source.SNAT)])
WAN = Device("wan", addresses=(VIP,))
LAN = Device("lan", addresses=(INSIDE,))


def test_where_all_is_well_nothing_else_is_said() -> None:
    for judge in (judge_forwarding, judge_mtu, judge_routes_to_servers, judge_routes_to_clients):
        said = list(judge(TRANSPARENT, network()))
        assert {one.state for one in said} == {"ok"}, said
    assert {one.state for one in judge_rp_filter(TRANSPARENT, network(), 0)} == {"ok"}
    assert only(judge_fragments(Fragments())).state == "ok"


@pytest.mark.parametrize(
    ("config", "setting", "dropped", "state", "words"),
    [
        (TRANSPARENT, 0, 0, "ok", "off"),
        (TRANSPARENT, 2, 9, "ok", "loose"),
        (TRANSPARENT, 1, 0, "warn", "strict"),
        (TRANSPARENT, 1, 1204, "warn", "1 204 packets so far"),
        (SNAT, 1, 0, "ok", "strict, and each way back is the way there"),
        (SNAT, 1, 3, "warn", "3 packets so far"),
    ],
)
def test_the_reverse_path_filter(config: Config, setting: int, dropped: int, state: str, words: str) -> None:
    found = network(outside=replace(WAN, rp_filter=setting))
    said = only(judge_rp_filter(config, found, dropped), subject="wan")
    assert said.state == state
    assert words in said.text
    assert said.command == ("" if state == "ok" else "sysctl -w net.ipv4.conf.wan.rp_filter=2")


@pytest.mark.parametrize(("setting", "state"), [(1, "fail"), (2, "ok")])
def test_a_strict_filter_drops_clients_that_are_answered_by_another_device(setting: int, state: str) -> None:
    found = network(outside=replace(WAN, rp_filter=setting), to_clients={VIP: Route(VIP, "10.0.0.254", "lan")})
    said = only(judge_rp_filter(SNAT, found, 0), subject="wan")
    assert said.state == state
    assert ("leave by lan" in said.text) is (state == "fail")


def test_marks_that_the_filter_looks_at_hurt_transparent_services_alone() -> None:
    found = network(inside=replace(LAN, src_valid_mark=1))
    said = only(judge_rp_filter(TRANSPARENT, found, 0), check="src-valid-mark")
    assert (said.state, said.subject) == ("fail", "lan")
    assert said.command.split("; ") == [
        "sysctl -w net.ipv4.conf.all.src_valid_mark=0",
        "sysctl -w net.ipv4.conf.lan.src_valid_mark=0",
    ]
    assert [one.check for one in judge_rp_filter(SNAT, found, 0)] == ["rp-filter", "rp-filter"]


def test_a_setting_of_a_device_with_a_dot_is_spelled_as_sysctl_takes_it() -> None:
    assert command_for("eth0.7", "forwarding", 1) == "sysctl -w net/ipv4/conf/eth0.7/forwarding=1"


@pytest.mark.parametrize(("config", "strands"), [(TRANSPARENT, True), (SNAT, False)])
def test_without_forwarding_there_is_no_fast_path(config: Config, strands: bool) -> None:
    found = network(inside=replace(LAN, forwards={4: False, 6: True}))
    said = only(judge_forwarding(config, found), subject="lan")
    assert (said.state, said.command) == ("warn", "sysctl -w net.ipv4.conf.lan.forwarding=1")
    assert ("default gateway, is lost" in said.text) is strands


def test_each_real_server_is_told_with_what_it_sees() -> None:
    said = only(judge_routes_to_servers(TRANSPARENT, network()), subject="vpn/s1")
    assert said.text == "10.0.0.11 by lan; its answers to clients must come back here, to 10.0.0.1"
    routed = network(to_servers={address: Route(INSIDE, "10.0.0.254", "lan") for address in SERVERS.values()})
    said = only(judge_routes_to_servers(SNAT, routed), subject="vpn/s2")
    assert said.text == "10.0.0.12 by lan through 10.0.0.254; it sees clients as 10.0.0.1"


def test_a_real_server_without_a_route_fails() -> None:
    found = network(to_servers={SERVERS["s1"]: Route(INSIDE, "", "lan")})
    said = only(judge_routes_to_servers(SNAT, found), subject="vpn/s2")
    assert (said.state, said.text) == ("fail", "there is no route to 10.0.0.12: its clients get no answer")


def test_a_real_server_of_a_transparent_service_on_the_balancer_itself() -> None:
    found = network(to_servers=dict.fromkeys(SERVERS.values(), Route("127.0.0.1", "", "lo")))
    assert {one.state for one in judge_routes_to_servers(TRANSPARENT, found)} == {"warn"}
    assert {one.state for one in judge_routes_to_servers(SNAT, found)} == {"ok"}


def test_answers_that_leave_by_another_device_than_clients_come_in_by() -> None:
    said = only(judge_routes_to_clients(SNAT, network(to_clients={VIP: Route(VIP, "10.0.0.254", "lan")})))
    assert said.state == "warn"
    assert "leave by lan, while 203.0.113.10 is on wan" in said.text
    without = only(judge_routes_to_clients(SNAT, network(to_clients={})))
    assert (without.state, without.command) == ("warn", "ip route add default via GATEWAY")


def test_a_device_that_takes_smaller_packets_than_another() -> None:
    said = list(judge_mtu(SNAT, network(inside=replace(LAN, mtu_bytes=1400))))
    assert [(one.subject, one.state) for one in said] == [("wan", "ok"), ("lan", "warn")]
    assert said[1].command == "ip link set lan mtu 1500"


def test_ipv6_needs_1280_bytes() -> None:
    vip, inside, server = "2001:db8:9::10", "fd00::1", "fd00::11"
    six = service("six", address=IPAddress(vip))
    six.real_servers[:] = [RealServer(name="s1", address=IPAddress(server))]
    found = network(
        outside=Device("wan", addresses=(vip,)),
        inside=Device("lan", mtu_bytes=1200, addresses=(inside,)),
        to_servers={server: Route(inside, "", "lan")},
        to_clients={vip: Route(vip, "fe80::1", "wan")},
    )
    assert only(judge_mtu(Config(services=[six]), found), subject="lan").state == "fail"
    assert list(judge_rp_filter(Config(services=[six]), found, 0)) == []


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (Fragments(room_bytes=0), "fail", "big IKE_AUTH messages are lost"),
        (Fragments(no_pmtu_disc=1), "warn", "cut to 552 bytes"),
        (Fragments(incomplete=3), "warn", "3 datagrams came incomplete"),
        (Fragments(room_bytes=None, no_pmtu_disc=None), "ok", "puts fragments together"),
    ],
)
def test_fragments(found: Fragments, state: str, words: str) -> None:
    said = only(judge_fragments(found))
    assert said.state == state
    assert words in said.text


@pytest.mark.trio
async def test_services_on_loopback_depend_on_no_device() -> None:
    local = service("local", address=IPAddress("127.0.0.1"), source=Source.SNAT)
    local.real_servers[:] = [RealServer(name="s1", address=IPAddress("127.0.0.11"))]
    config = Config(services=[local])
    found = await look_at_network(config, CLIENT)
    assert found.to_servers["127.0.0.11"].device == "lo"
    assert "127.0.0.1" in found.devices["lo"].addresses
    assert found.on_the_way(config) == []
    assert list(judge_routes_to_clients(config, found)) == []


@pytest.mark.trio
async def test_without_the_tool_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = await look_at_network(SNAT, CLIENT)
    assert "install the package iproute2" in found.failure
