"""ESP and keepalives of known flows, run through the XDP program: every byte that leaves is the one scapy writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fastpath_world import (
    CLIENT,
    CLIENT_PORT,
    ESP,
    KEEPALIVE,
    LONG_AGO_TICKS,
    SERVER,
    Direction,
    Ends,
    Family,
    Outcome,
    Verdict,
    World,
    sent,
    to_client,
    to_server,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from engine.fastpath.layout import TICK_S, age_s, tick_now

families = pytest.mark.parametrize("family", list(Family))
both_ways = pytest.mark.parametrize("way", [to_server, to_client])
Way = Callable[..., Direction]
SMALLEST_FRAME_BYTES = 60

ports = st.integers(0, 0xFFFF)
payloads = st.binary(min_size=8, max_size=300).filter(lambda payload: any(payload[:4]))
even_payloads = payloads.filter(lambda payload: len(payload) % 2 == 0)
UNICAST = {Family.V4: "64.0.0.0/3", Family.V6: "2400::/12"}
"""Addresses of ordinary hosts, to which the default route leads."""


@st.composite
def directions(draw: st.DrawFn, family: Family) -> Direction:
    """Any ends becoming any others, sent on to the clients' side."""
    hosts = st.ip_addresses(network=UNICAST[family]).map(str)
    before, after = (Ends(draw(hosts), draw(ports), draw(hosts), draw(ports)) for _ in range(2))
    return Direction(before, after, SERVER, CLIENT)


def udp_checksum(frame: Packet) -> int:
    """As scapy computes it."""
    return int(Ether(bytes(frame))[UDP].chksum)


def with_checksum(frame: Packet, wanted: int) -> bytes:
    """The frame's payload with one word more, by which the UDP checksum becomes a certain one; 0 is sent as 0xffff."""
    payload = bytes(frame[UDP].payload)
    frame[UDP].remove_payload()
    word = udp_checksum(frame / (payload + bytes(2))) + (~wanted & 0xFFFF)
    return payload + (word % 0xFFFF or 0xFFFF).to_bytes(2)


@families
@both_ways
@pytest.mark.parametrize("snat", [False, True], ids=["transparent", "snat"])
def test_esp_leaves_with_the_flows_tuple(shared_world: World, family: Family, way: Way, snat: bool) -> None:
    """ESP comes in by one device; it leaves by the other: new addresses, ports, MACs, hop count and checksums."""
    direction = shared_world.install(way(family, snat=snat))
    assert shared_world.run(direction.frame(), direction.came_from.device) == sent(direction.forwarded())
    assert shared_world.flow(direction).port == direction.goes_to.device.port


@families
@both_ways
def test_keepalives_are_forwarded(shared_world: World, family: Family, way: Way) -> None:
    """The one byte 0xff is a NAT keepalive (RFC 3948): forwarded like ESP."""
    direction = shared_world.install(way(family))
    frame = direction.frame(KEEPALIVE)
    assert shared_world.run(frame, direction.came_from.device) == sent(direction.forwarded(KEEPALIVE))


@families
def test_the_smallest_esp_is_forwarded(shared_world: World, family: Family) -> None:
    """An SPI and a sequence number, nothing more: forwarded."""
    direction = shared_world.install(to_server(family))
    assert shared_world.run(direction.frame(ESP[:8])) == sent(direction.forwarded(ESP[:8]))


@families
@pytest.mark.parametrize("payload", [KEEPALIVE, ESP[:8]], ids=["keepalive", "esp"])
def test_ethernet_padding_is_carried_along(shared_world: World, family: Family, payload: bytes) -> None:
    """A frame padded to Ethernet's smallest, or beyond: forwarded, with its padding as it was."""
    direction = shared_world.install(to_server(family))
    for size_bytes in (SMALLEST_FRAME_BYTES, 2 * SMALLEST_FRAME_BYTES):
        frame, expected = bytes(direction.frame(payload)), bytes(direction.forwarded(payload))
        padding = b"\xa5" * (size_bytes - len(frame))
        assert shared_world.run(frame + padding) == Outcome(Verdict.REDIRECT, expected + padding)


@both_ways
def test_no_udp_checksum_stays_none(shared_world: World, way: Way) -> None:
    """IPv4 ESP with UDP checksum zero, as RFC 3948 wants it: forwarded with zero."""
    direction = shared_world.install(way(Family.V4))
    frame = direction.frame(udp_checksum=0)
    assert shared_world.run(frame, direction.came_from.device) == sent(direction.forwarded(udp_checksum=0))


@families
@given(data=st.data(), payload=payloads)
def test_udp_checksums_are_always_right(
    shared_world: World, family: Family, data: st.DataObject, payload: bytes
) -> None:
    """Any addresses, ports and ESP: what leaves is what scapy makes from scratch."""
    direction = shared_world.install(data.draw(directions(family)))
    assert shared_world.run(direction.frame(payload), SERVER.device) == sent(direction.forwarded(payload))


@families
@given(data=st.data(), payload=even_payloads)
def test_a_udp_checksum_never_becomes_zero(
    shared_world: World, family: Family, data: st.DataObject, payload: bytes
) -> None:
    """ESP whose new UDP checksum comes out as 0: it leaves with 0xffff, for 0 means that there is none (RFC 768)."""
    direction = shared_world.install(data.draw(directions(family)))
    payload = with_checksum(direction.forwarded(payload), 0)
    assert udp_checksum(direction.forwarded(payload)) == 0xFFFF
    assert shared_world.run(direction.frame(payload), SERVER.device) == sent(direction.forwarded(payload))


@families
@given(data=st.data(), payload=even_payloads)
def test_a_udp_checksum_that_was_zero_is_adjusted(
    shared_world: World, family: Family, data: st.DataObject, payload: bytes
) -> None:
    """ESP that comes with UDP checksum 0xffff, sent for 0: it leaves with the right one."""
    direction = shared_world.install(data.draw(directions(family)))
    payload = with_checksum(direction.frame(payload), 0)
    assert udp_checksum(direction.frame(payload)) == 0xFFFF
    assert shared_world.run(direction.frame(payload), SERVER.device) == sent(direction.forwarded(payload))


@families
@given(data=st.data(), payload=even_payloads, becomes=st.integers(0xFFD0, 0xFFFE))
def test_no_carry_of_a_checksum_is_lost(
    shared_world: World, family: Family, data: st.DataObject, payload: bytes, becomes: int
) -> None:
    """ESP whose new UDP checksum is just below 0xffff, which comes of a carry beyond the last one: it is right."""
    direction = shared_world.install(data.draw(directions(family)))
    payload = with_checksum(direction.forwarded(payload), becomes)
    assert udp_checksum(direction.forwarded(payload)) == becomes
    assert shared_world.run(direction.frame(payload), SERVER.device) == sent(direction.forwarded(payload))


@families
@given(
    hops_left=st.integers(2, 255),
    tos=st.integers(0, 255),
    label=st.integers(0, 0xFFFF),
)
def test_only_the_hop_count_changes_of_the_rest(
    shared_world: World, family: Family, hops_left: int, tos: int, label: int
) -> None:
    """Any TTL above 1, DSCP, identification or flow label: one hop less, the checksum right, the rest kept."""
    direction = shared_world.install(to_server(family))
    fields = {"hops_left": hops_left, "tos": tos, "label": label}
    assert shared_world.run(direction.frame(**fields)) == sent(direction.forwarded(**fields))


@given(label=st.integers(0, 0xFFFF), before=st.integers(0, 3))
def test_routers_behind_the_balancer_may_fragment(shared_world: World, label: int, before: int) -> None:
    """ESP with don't-fragment set leaves without, and with an identification that no packet of its flow had before."""
    direction = shared_world.install(to_server(Family.V4))
    for number in range(before + 1):
        outcome = shared_world.run(direction.frame(label=label, flags="DF"))
        assert outcome == sent(direction.forwarded(label=(number >> 8) | (number & 0xFF) << 8, flags=0))


@families
@given(wrong=st.integers(1, 0xFFFE))
def test_a_wrong_udp_checksum_stays_wrong(shared_world: World, family: Family, wrong: int) -> None:
    """ESP broken under way: forwarded, but its UDP checksum does not vouch for it."""
    direction = shared_world.install(to_server(family))
    assume(wrong != udp_checksum(direction.frame()))
    outcome = shared_world.run(direction.frame(udp_checksum=wrong))
    leaves = Ether(outcome.data)[UDP].chksum
    assert leaves != udp_checksum(direction.forwarded())
    assert outcome == sent(direction.forwarded(udp_checksum=leaves))


@given(wrong=st.integers(0, 0xFFFE))
def test_a_wrong_header_checksum_stays_wrong(shared_world: World, wrong: int) -> None:
    """An IPv4 header broken under way: the next host finds its checksum wrong too."""
    direction = shared_world.install(to_server(Family.V4))
    frame, expected = direction.frame(), direction.forwarded()
    assume(wrong != Ether(bytes(frame))[IP].chksum)
    frame[IP].chksum = wrong
    outcome = shared_world.run(frame)
    expected[IP].chksum = Ether(outcome.data)[IP].chksum
    assert expected[IP].chksum != Ether(bytes(direction.forwarded()))[IP].chksum
    assert outcome == sent(expected)


@families
@both_ways
def test_each_packet_is_accounted_for(shared_world: World, family: Family, way: Way) -> None:
    """Two ESP packets and a keepalive: packets, UDP payload bytes, moment and last SPI, also for the server."""
    direction = shared_world.install(way(family))
    packets, size_bytes = shared_world.total()
    new = shared_world.flow(direction)
    assert (new.packets, new.size_bytes, new.esp_spi) == (0, 0, bytes(4))
    assert age_s(new.last_used, tick_now()) >= LONG_AGO_TICKS * TICK_S

    payloads = [ESP, b"\xaa\xbb\xcc\xdd" + ESP[4:20], KEEPALIVE]
    for payload in payloads:
        shared_world.run(direction.frame(payload), direction.came_from.device)

    used = shared_world.flow(direction)
    carried_bytes = sum(map(len, payloads))
    assert (used.packets, used.size_bytes, used.esp_spi) == (3, carried_bytes, b"\xaa\xbb\xcc\xdd")
    assert age_s(used.last_used, tick_now()) < LONG_AGO_TICKS * TICK_S / 2
    assert (used.total, used.state) == (new.total, new.state)
    assert shared_world.total() == (packets + 3, size_bytes + carried_bytes)


@families
def test_keepalives_alone_name_no_spi(shared_world: World, family: Family) -> None:
    """A keepalive on a flow that has carried no ESP: counted, but no SPI made up."""
    direction = shared_world.install(to_server(family))
    shared_world.run(direction.frame(KEEPALIVE))
    flow = shared_world.flow(direction)
    assert (flow.packets, flow.size_bytes, flow.esp_spi) == (1, 1, bytes(4))


def test_families_and_directions_have_flows_of_their_own(shared_world: World) -> None:
    """ESP of one flow: no other one is charged for it."""
    flows = [shared_world.install(way(family)) for family in Family for way in (to_server, to_client)]
    neighbour = to_server(Family.V4)
    neighbour = shared_world.install(replace(neighbour, before=replace(neighbour.before, source_port=CLIENT_PORT + 1)))
    shared_world.run(flows[0].frame())
    assert [shared_world.flow(flow).packets for flow in (*flows, neighbour)] == [1, 0, 0, 0, 0]
