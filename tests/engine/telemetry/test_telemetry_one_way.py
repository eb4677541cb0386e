"""Tunnels that carry data one way only: the server sends none back, or its answers cannot leave this machine."""

from __future__ import annotations

import pytest
from telemetry_world import probed, real_server, service

from engine.telemetry.alarms import Finding
from engine.telemetry.no_route import QUIET_S, NoRoute
from engine.telemetry.one_way import WINDOW_S, OneWay


def after_a_window(packets_in: int, packets_out: int, *, established: int = 1, up: bool = True) -> list[Finding]:
    """What is found when so much passed a server in a window, after much more before."""
    server = real_server("a")
    vpn = service(server)
    probed(server, ok=up, now_s=0.0)
    watch = OneWay()
    server.packets_in = server.packets_out = 10_000
    server.established = established
    watch.look([vpn], 1.0)
    server.packets_in += packets_in
    server.packets_out += packets_out
    watch.look([vpn], WINDOW_S)
    assert list(watch.findings([vpn])) == []
    watch.look([vpn], 1.0 + WINDOW_S)
    return list(watch.findings([vpn]))


def test_a_server_that_takes_data_and_sends_none_is_named_with_a_remedy() -> None:
    (found,) = after_a_window(1200, 3)
    assert (found.kind, found.service, found.server) == ("no-data-back", "vpn", "a")
    assert "1 200 packets of tunnels went there in 10 s" in found.text
    assert "`ikeconsole drain vpn/a`" in found.remedy


@pytest.mark.parametrize(
    ("packets_in", "packets_out", "established", "up"),
    [(1200, 100, 1, True), (50, 0, 1, True), (1200, 0, 0, True), (1200, 0, 1, False)],
    ids=["mostly-uploads", "next-to-nothing", "no-tunnels", "down"],
)
def test_that_little_comes_back_proves_nothing(packets_in: int, packets_out: int, established: int, up: bool) -> None:
    assert after_a_window(packets_in, packets_out, established=established, up=up) == []


def test_it_is_over_a_window_after_data_comes_back() -> None:
    server = real_server("a")
    vpn, watch = service(server), OneWay()
    server.established = 1
    found = []
    for number in range(4):
        watch.look([vpn], number * WINDOW_S)
        found.append(bool(list(watch.findings([vpn]))))
        server.packets_in += 1000
        server.packets_out += 1000 if number == 2 else 0
    assert found == [False, True, True, False]


def test_it_stands_while_those_who_wait_send_less_and_less() -> None:
    server = real_server("a")
    vpn, watch = service(server), OneWay()
    server.established = 1
    found = []
    for number, packets in enumerate((90, 120, 90, 120, 40, 10, 0)):
        watch.look([vpn], number * WINDOW_S)
        found.append(bool(list(watch.findings([vpn]))))
        server.packets_in += packets
    assert found == [False, False, True, True, True, True, False]


def test_answers_without_a_route_are_an_alarm_until_they_leave_again() -> None:
    vpn, watch = service(), NoRoute()
    watch.look([vpn], 0.0)
    vpn.drops["reply-unreachable"] = 99
    watch.look([vpn], 1.0)
    assert list(watch.findings()) == []
    vpn.drops["reply-unreachable"] = 1500
    watch.look([vpn], 2.0)
    (found,) = watch.findings()
    assert found.text == "vpn: 1 500 answers found no route to their clients, who are cut off"
    assert "from 203.0.113.10" in found.remedy
    watch.look([vpn], 2.0 + QUIET_S)
    assert list(watch.findings()) == []
