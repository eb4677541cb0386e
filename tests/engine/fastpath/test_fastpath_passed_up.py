"""Frames that the XDP program must not touch: the kernel's stack gets them as they came, each counted under one reason.

All but the first few would be of a known flow, were it not for what each case says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fastpath_world import (
    ESP,
    KEEPALIVE,
    Direction,
    Ends,
    Family,
    Outcome,
    Verdict,
    World,
    passed_up,
    sent,
    to_client,
    to_server,
)
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from engine.fastpath.layout import Reason

Change = Callable[[Packet], Packet]
families = pytest.mark.parametrize("family", list(Family))
MORE_FRAGMENTS = 1
LLDP = 0x88CC
SMALLEST_FRAME_BYTES = 14
"""The kernel runs a program over nothing shorter."""
MARKER = bytes(4)
IKE_HEADER = bytes(range(1, 29))


def with_fields(layer: type[Packet], **fields: object) -> Change:
    """Set fields that scapy would otherwise fill in."""

    def change(frame: Packet) -> Packet:
        for name, value in fields.items():
            setattr(frame[layer], name, value)
        return frame

    return change


def with_lengths(by: int, *fields: tuple[type[Packet], str]) -> Change:
    """Make lengths differ from what they should be."""

    def change(frame: Packet) -> Packet:
        finished = Ether(bytes(frame))
        for layer, name in fields:
            setattr(finished[layer], name, getattr(finished[layer], name) + by)
        return finished

    return change


def above(layer: type[Packet], *others: Packet) -> Change:
    """Put other layers in place of all that is above one."""

    def change(frame: Packet) -> Packet:
        frame[layer].remove_payload()
        for other in others:
            frame = frame / other.copy()
        return frame

    return change


def between(layer: type[Packet], *others: Packet) -> Change:
    """Put more layers right above one."""

    def change(frame: Packet) -> Packet:
        return above(layer, *others, frame[layer].payload)(frame)

    return change


OF_EITHER_FAMILY: dict[str, tuple[Reason, Change]] = {
    "ARP": (Reason.NOT_IP, above(Ether, ARP(pdst="198.51.100.1"))),
    "LLDP": (Reason.NOT_IP, with_fields(Ether, type=LLDP)),
    "spanning tree": (Reason.MULTICAST, lambda _: Dot3(dst="01:80:c2:00:00:00") / LLC() / STP()),
    "addressed to a group of hosts": (Reason.MULTICAST, with_fields(Ether, dst="01:00:5e:00:00:01")),
    "addressed to every host": (Reason.MULTICAST, with_fields(Ether, dst="ff:ff:ff:ff:ff:ff")),
    "two 802.1Q tags": (Reason.NOT_IP, between(Ether, Dot1Q(vlan=10), Dot1Q(vlan=20))),
    "a provider's tag": (Reason.NOT_IP, between(Ether, Dot1AD(vlan=10))),
    "ARP below a tag": (Reason.NOT_IP, above(Ether, Dot1Q(vlan=10), ARP(pdst="198.51.100.1"))),
    "UDP claims to be shorter than its header": (Reason.MALFORMED, with_fields(UDP, len=7)),
    "UDP claims no length": (Reason.MALFORMED, with_fields(UDP, len=0)),
    "UDP claims more than IP": (Reason.MALFORMED, with_lengths(1, (UDP, "len"))),
    "UDP claims less than IP": (Reason.MALFORMED, with_lengths(-1, (UDP, "len"))),
}
OF_IPV4: dict[str, tuple[Reason, Change]] = {
    "TCP": (Reason.NOT_UDP, above(IP, TCP(sport=40123, dport=4500), Raw(ESP))),
    "ICMP": (Reason.NOT_UDP, above(IP, ICMP())),
    "native ESP": (Reason.NOT_UDP, with_fields(IP, proto=50)),
    "an option": (Reason.OPTIONS, with_fields(IP, options=[IPOption_Router_Alert()])),
    "a header shorter than any": (Reason.MALFORMED, with_fields(IP, ihl=4)),
    "another version": (Reason.MALFORMED, with_fields(IP, version=6)),
    "the first fragment": (Reason.FRAGMENT, with_fields(IP, flags=MORE_FRAGMENTS)),
    "a middle fragment": (Reason.FRAGMENT, with_fields(IP, flags=MORE_FRAGMENTS, frag=8)),
    "the last fragment": (Reason.FRAGMENT, with_fields(IP, frag=8)),
    "the farthest fragment": (Reason.FRAGMENT, with_fields(IP, frag=0x1FFF)),
    "IP claims more than UDP": (Reason.MALFORMED, with_lengths(1, (IP, "len"))),
    "IP claims no length": (Reason.MALFORMED, with_fields(IP, len=0)),
    "both claim more than there is": (Reason.MALFORMED, with_lengths(1, (IP, "len"), (UDP, "len"))),
    "both claim much more": (Reason.MALFORMED, with_lengths(60_000, (IP, "len"), (UDP, "len"))),
    "both claim less than a UDP header": (Reason.MALFORMED, with_lengths(-len(ESP) - 1, (IP, "len"), (UDP, "len"))),
    "both claim no UDP header": (Reason.MALFORMED, with_lengths(-len(ESP) - 8, (IP, "len"), (UDP, "len"))),
    "TTL 1": (Reason.TTL, with_fields(IP, ttl=1)),
    "TTL 0": (Reason.TTL, with_fields(IP, ttl=0)),
}
OF_IPV6: dict[str, tuple[Reason, Change]] = {
    "TCP": (Reason.NOT_UDP, above(IPv6, TCP(sport=40123, dport=4500), Raw(ESP))),
    "ICMP": (Reason.NOT_UDP, above(IPv6, ICMPv6EchoRequest())),
    "native ESP": (Reason.NOT_UDP, with_fields(IPv6, nh=50)),
    "nothing follows": (Reason.NOT_UDP, with_fields(IPv6, nh=59)),
    "hop-by-hop options": (Reason.OPTIONS, between(IPv6, IPv6ExtHdrHopByHop())),
    "destination options": (Reason.OPTIONS, between(IPv6, IPv6ExtHdrDestOpt())),
    "a routing header": (Reason.OPTIONS, between(IPv6, IPv6ExtHdrRouting())),
    "another version": (Reason.MALFORMED, with_fields(IPv6, version=4)),
    "the first fragment": (Reason.FRAGMENT, between(IPv6, IPv6ExtHdrFragment(m=1))),
    "a middle fragment": (Reason.FRAGMENT, between(IPv6, IPv6ExtHdrFragment(m=1, offset=8))),
    "the last fragment": (Reason.FRAGMENT, between(IPv6, IPv6ExtHdrFragment(offset=8))),
    "a fragment that is the whole": (Reason.FRAGMENT, between(IPv6, IPv6ExtHdrFragment())),
    "IP claims more than UDP": (Reason.MALFORMED, with_lengths(1, (IPv6, "plen"))),
    "a jumbogram": (Reason.MALFORMED, with_fields(IPv6, plen=0)),
    "both claim more than there is": (Reason.MALFORMED, with_lengths(1, (IPv6, "plen"), (UDP, "len"))),
    "both claim less than a UDP header": (Reason.MALFORMED, with_lengths(-len(ESP) - 1, (IPv6, "plen"), (UDP, "len"))),
    "both claim no UDP header": (Reason.MALFORMED, with_lengths(-len(ESP) - 8, (IPv6, "plen"), (UDP, "len"))),
    "no UDP checksum": (Reason.MALFORMED, with_fields(UDP, chksum=0)),
    "hop limit 1": (Reason.TTL, with_fields(IPv6, hlim=1)),
    "hop limit 0": (Reason.TTL, with_fields(IPv6, hlim=0)),
}
LOOKED_AT: dict[str, bytes] = {
    "an IKE message": MARKER + IKE_HEADER,
    "the non-ESP marker alone": MARKER,
    "SPI 0": MARKER + ESP[4:],
    "no payload": b"",
    "one byte that is no keepalive": b"\x00",
    "one byte that is nearly a keepalive": b"\xfe",
    "two keepalives in one": 2 * KEEPALIVE,
    "a byte short of ESP": ESP[:7],
}


def cases() -> Iterator[object]:
    for family, own in ((Family.V4, OF_IPV4), (Family.V6, OF_IPV6)):
        for name, (reason, change) in (OF_EITHER_FAMILY | own).items():
            yield pytest.param(family, change, reason, id=f"{family}: {name}")


@pytest.mark.parametrize(("family", "change", "reason"), cases())
def test_frames_of_other_kinds_are_passed_up(
    shared_world: World, family: Family, change: Change, reason: Reason
) -> None:
    """Each as its name says, on a known flow otherwise: passed up untouched, counted once, the flow not charged."""
    direction = shared_world.install(to_server(family))
    frame = bytes(change(direction.frame()))
    assert shared_world.run(frame) == passed_up(frame, reason)
    assert shared_world.flow(direction).packets == 0


@families
@pytest.mark.parametrize("payload", LOOKED_AT.values(), ids=LOOKED_AT)
def test_what_is_neither_esp_nor_keepalive_is_passed_up(shared_world: World, family: Family, payload: bytes) -> None:
    """IKE, or too short for ESP: the engine wants to see it."""
    frame = bytes(shared_world.install(to_server(family)).frame(payload))
    assert shared_world.run(frame) == passed_up(frame, Reason.IKE)


@families
@pytest.mark.parametrize("way", [to_server, to_client])
def test_esp_of_no_flow_is_passed_up(shared_world: World, family: Family, way: Callable[..., Direction]) -> None:
    """A tuple that differs from a flow's in any one part, or is turned round: a miss."""
    direction = shared_world.install(way(family))
    ends = direction.before
    others = [
        replace(ends, source=str(ip_address(ends.source) + 1)),
        replace(ends, destination=str(ip_address(ends.destination) + 1)),
        replace(ends, source_port=ends.source_port + 1),
        replace(ends, destination_port=ends.destination_port - 1),
        Ends(ends.destination, ends.destination_port, ends.source, ends.source_port),
    ]
    if way is to_client:
        others[-1] = direction.after
    for other in others:
        frame = bytes(replace(direction, before=other).frame())
        assert shared_world.run(frame, direction.came_from.device) == passed_up(frame, Reason.MISS)


@families
def test_a_flow_that_was_removed_is_passed_up(shared_world: World, family: Family) -> None:
    """ESP of a flow that the engine has taken out of the kernel: a miss."""
    direction = shared_world.install(to_server(family))
    assert shared_world.run(direction.frame()) == sent(direction.forwarded())
    shared_world.remove(direction)
    frame = bytes(direction.frame())
    assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@families
@pytest.mark.parametrize("payload", [ESP, KEEPALIVE], ids=["esp", "keepalive"])
@pytest.mark.parametrize("vlan", [None, 10], ids=["untagged", "tagged"])
def test_frames_cut_short_are_passed_up(shared_world: World, family: Family, payload: bytes, vlan: int | None) -> None:
    """A frame of a known flow, cut off anywhere: passed up as it is, whatever its headers claim."""
    direction = shared_world.install(to_server(family))
    whole = direction.frame(payload)
    if vlan is not None:
        whole = between(Ether, Dot1Q(vlan=vlan))(whole)
    for size_bytes in range(SMALLEST_FRAME_BYTES, len(whole)):
        cut = bytes(whole)[:size_bytes]
        outcome = shared_world.run(cut)
        assert (outcome.verdict, outcome.data) == (Verdict.PASS, cut)
        assert outcome.reasons in ({Reason.NOT_IP: 1}, {Reason.MALFORMED: 1})


@given(frame=st.binary(min_size=SMALLEST_FRAME_BYTES, max_size=200))
def test_noise_is_passed_up(shared_world: World, frame: bytes) -> None:
    """Any bytes at all: passed up untouched, under exactly one reason."""
    outcome = shared_world.run(frame)
    assert (outcome.verdict, outcome.data, sum(outcome.reasons.values())) == (Verdict.PASS, frame, 1)


@families
@given(data=st.data())
def test_damaged_frames_are_passed_up_or_forwarded(shared_world: World, family: Family, data: st.DataObject) -> None:
    """A known flow's frame with a few bytes changed: untouched, or sent with the flow's MACs and tuple."""
    direction = shared_world.install(to_server(family))
    whole = bytes(direction.frame())
    frame = bytearray(whole)
    for at, byte in data.draw(st.dictionaries(st.integers(0, len(frame) - 1), st.integers(0, 255), max_size=4)).items():
        frame[at] = byte
    outcome = shared_world.run(bytes(frame))
    if outcome.verdict is Verdict.PASS:
        assert (outcome.data, sum(outcome.reasons.values())) == (bytes(frame), 1)
        return
    assert outcome == Outcome(Verdict.REDIRECT, outcome.data)
    came, left = Ether(bytes(frame)), Ether(outcome.data)
    network = IP if family is Family.V4 else IPv6
    assert (came[network].src, came[network].dst) == (direction.before.source, direction.before.destination)
    assert (left[network].src, left[network].dst) == (direction.after.source, direction.after.destination)
    assert (left.src, left.dst) == (direction.goes_to.device.mac, direction.goes_to.mac)
    assert bytes(left[UDP].payload) == bytes(came[UDP].payload)
    hops = "ttl" if network is IP else "hlim"
    assert getattr(left[network], hops) == getattr(came[network], hops) - 1
