"""What a service would only drop: where no flow has it the XDP program drops it, for the reasons of the slow path."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastpath_newcomers import (
    CHALLENGED,
    IKE_PORT,
    KEYS,
    NAT_T_PORT,
    PROTECTED,
    Tally,
    check_rate,
    first_message,
    kept_off,
    newcomer,
    on_port,
    protect,
)
from fastpath_world import ESP, KEEPALIVE, Family, World, passed_up, sent, to_client, to_server
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether

from engine.fastpath.layout import Outcome as Kept
from engine.fastpath.layout import Reason, ShieldFlag
from engine.wire.encapsulation import read_header
from engine.wire.errors import WireError

families = pytest.mark.parametrize("family", list(Family))
service_ports = pytest.mark.parametrize("port", [IKE_PORT, NAT_T_PORT])

HEADER = first_message()[:28]
GARBAGE: dict[str, tuple[Kept, bytes]] = {
    "nothing": (Kept.RUNT, b""),
    "a byte short of a header": (Kept.RUNT, HEADER[:27]),
    "IKEv1": (Kept.IKE_V1, first_message(version=0x10)),
    "IKEv3": (Kept.IKE_VERSION, first_message(version=0x30)),
    "version 0": (Kept.IKE_VERSION, first_message(version=0)),
    "no initiator SPI": (Kept.ZERO_SPI, first_message(spi_i=0)),
    "claims less than its header": (Kept.BAD_LENGTH, HEADER[:24] + (27).to_bytes(4, "big")),
    "claims a byte more than there is": (Kept.TRUNCATED, HEADER[:24] + (29).to_bytes(4, "big")),
    "claims four gigabytes": (Kept.TRUNCATED, HEADER[:24] + b"\xff\xff\xff\xff"),
    "zeros": (Kept.IKE_VERSION, bytes(28)),
}
GARBAGE_OF_NAT_T: dict[str, bytes] = {
    "nothing": b"",
    "one byte that is no keepalive": b"\xfe",
    "two keepalives": 2 * KEEPALIVE,
    "a byte short of a marker": bytes(3),
    "a byte short of ESP": ESP[:7],
    "the marker alone": bytes(4),
}


@pytest.fixture(autouse=True)
def _protected(shared_world: World) -> None:
    """The service is shielded, and nothing else is the matter."""
    protect(shared_world)


@families
@service_ports
@pytest.mark.parametrize(("kept", "message"), GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_ike_message_is_dropped(
    shared_world: World, family: Family, port: int, kept: Kept, message: bytes
) -> None:
    """And counted under the reason that the slow path would name."""
    tally = Tally(shared_world)
    frame = bytes(newcomer(family, port).frame(on_port(port, message)))
    assert shared_world.run(frame) == kept_off(frame)
    assert tally.more() == {kept: 1}


@families
@pytest.mark.parametrize("payload", GARBAGE_OF_NAT_T.values(), ids=GARBAGE_OF_NAT_T)
def test_what_is_nothing_on_the_nat_t_port_is_dropped(shared_world: World, family: Family, payload: bytes) -> None:
    tally = Tally(shared_world)
    frame = bytes(newcomer(family, NAT_T_PORT).frame(payload))
    assert shared_world.run(frame) == kept_off(frame)
    assert tally.more() == {Kept.RUNT: 1}


@families
@pytest.mark.parametrize("payload", [ESP, KEEPALIVE, on_port(NAT_T_PORT, first_message())])
def test_source_port_zero_is_nobody_to_answer(shared_world: World, family: Family, payload: bytes) -> None:
    tally = Tally(shared_world)
    frame = bytes(newcomer(family, NAT_T_PORT, client_port=0).frame(payload))
    assert shared_world.run(frame) == kept_off(frame)
    assert tally.more() == {Kept.IMPOSSIBLE_SOURCE: 1}


ike_like = st.builds(
    lambda head, version, exchange, flags, message_id, length, rest: (
        head + bytes([33, version, exchange, flags]) + message_id + length.to_bytes(4, "big") + rest
    ),
    st.sampled_from([HEADER[:16], bytes(8) + HEADER[8:16]]) | st.binary(min_size=16, max_size=16),
    st.sampled_from([0x20, 0x21, 0x10, 0x30]) | st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 200) | st.integers(0, 2**32 - 1),
    st.binary(max_size=100),
)
payloads = ike_like | ike_like.map(lambda message: bytes(4) + message) | st.binary(max_size=80)


@given(payload=payloads, port=st.sampled_from([IKE_PORT, NAT_T_PORT]))
@families
def test_the_kernel_drops_what_the_slow_path_would_and_nothing_else(
    shared_world: World, family: Family, payload: bytes, port: int
) -> None:
    """Any payload on either port, judged by both: the same verdict, for the same reason."""
    tally = Tally(shared_world)
    frame = bytes(newcomer(family, port).frame(payload))
    why = slow_path_drops(payload, port)
    assert shared_world.run(frame) == (kept_off(frame) if why else passed_up(frame, Reason.MISS))
    assert [kept.slug for kept in tally.more()] == why


def slow_path_drops(payload: bytes, port: int) -> list[str]:
    """The reason, if there is one."""
    try:
        read_header(payload, port == NAT_T_PORT)
    except WireError as error:
        return [error.reason]
    return []


@families
@pytest.mark.parametrize("payload", [ESP, KEEPALIVE], ids=["ESP", "keepalive"])
def test_unknown_esp_and_keepalives_pass_at_a_bounded_rate(fresh_world: World, family: Family, payload: bytes) -> None:
    """Where the kernel has all tunnels, so many at once and so many a second; what is dropped is counted."""
    protect(fresh_world, flags=ShieldFlag.LIMITS)
    frame = bytes(newcomer(family, NAT_T_PORT).frame(payload))
    check_rate(fresh_world, frame, at_once=1000, per_s=10_000, limited=Kept.UNKNOWN_SPI_LIMIT)


@families
@pytest.mark.parametrize("flags", [PROTECTED, CHALLENGED])
def test_unknown_esp_passes_where_the_slow_path_has_tunnels(
    shared_world: World, family: Family, flags: ShieldFlag
) -> None:
    """However much there is."""
    protect(shared_world, KEYS, flags)
    frame = bytes(newcomer(family, NAT_T_PORT).frame(ESP))
    verdicts = {shared_world.forwarding.program.run(frame).verdict for _ in range(3000)}
    assert verdicts == {passed_up(frame, Reason.MISS).verdict}


@families
def test_known_flows_do_not_notice(fresh_world: World, family: Family) -> None:
    """Both ways and while all is limited and challenged: ESP is forwarded, an IKE message goes up whatever it is."""
    for direction in (to_server(family), to_client(family)):
        fresh_world.install(direction)
        protect(fresh_world, KEYS, CHALLENGED | ShieldFlag.LIMITS)
        device = direction.came_from.device
        for _ in range(20):
            assert fresh_world.run(direction.frame(), device) == sent(direction.forwarded())
        frame = bytes(direction.frame(on_port(NAT_T_PORT, first_message())))
        assert fresh_world.run(frame, device) == passed_up(frame, Reason.IKE)


@families
@service_ports
def test_other_addresses_and_ports_are_not_shielded(shared_world: World, family: Family, port: int) -> None:
    """Nor are answers of real servers, which come from the service's ports."""
    protect(shared_world, KEYS, CHALLENGED)
    client = newcomer(family, port)
    elsewhere = [
        replace(client.before, destination=client.after.destination),
        replace(client.before, destination_port=port + 1),
        replace(client.before, source=client.before.destination, destination=client.before.source, source_port=port),
    ]
    for before in elsewhere:
        for payload in (b"", first_message()):
            frame = bytes(replace(client, before=before).frame(payload))
            assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@pytest.mark.parametrize("message", [b"", first_message()], ids=["garbage", "a first message"])
def test_options_and_fragments_are_for_the_kernel_to_read(shared_world: World, message: bytes) -> None:
    """Garbage or challenged, they pass."""
    protect(shared_world, KEYS, CHALLENGED)
    v4, v6 = (newcomer(family).frame(message) for family in Family)
    for option in (IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1)):
        frame = v6.copy()
        frame[IPv6].payload = option / v6[UDP]
        assert shared_world.run(frame).verdict == passed_up(b"", Reason.OPTIONS).verdict
    for field, value in {"options": [IPOption_Router_Alert()], "flags": "MF", "frag": 8}.items():
        frame = v4.copy()
        setattr(frame[IP], field, value)
        assert shared_world.run(frame).verdict == passed_up(b"", Reason.OPTIONS).verdict


@families
@service_ports
def test_lengths_that_the_kernel_refuses_are_left_to_it(shared_world: World, family: Family, port: int) -> None:
    """UDP that claims more than IP, or less than its header, and IP that claims more than there is."""
    protect(shared_world, KEYS, CHALLENGED)
    whole = Ether(bytes(newcomer(family, port).frame(on_port(port, first_message()))))
    length = "len" if family is Family.V4 else "plen"
    network = IP if family is Family.V4 else IPv6
    for layer, name, value in ((UDP, "len", len(whole[UDP]) + 1), (UDP, "len", 7), (network, length, 1400)):
        frame = whole.copy()
        setattr(frame[layer], name, value)
        assert shared_world.run(frame) == passed_up(bytes(frame), Reason.MISS)


@families
@service_ports
def test_what_udp_does_not_claim_is_not_looked_at(shared_world: World, family: Family, port: int) -> None:
    """The kernel cuts it off before the slow path sees it."""
    whole = Ether(bytes(newcomer(family, port).frame(on_port(port, first_message()))))
    whole[UDP].len = 8 + 20
    assert shared_world.run(whole) == kept_off(bytes(whole))


def test_ipv6_without_udp_checksum_is_left_to_the_kernel(shared_world: World) -> None:
    frame = newcomer(Family.V6).frame(b"", udp_checksum=0)
    assert shared_world.run(frame) == passed_up(bytes(frame), Reason.MISS)
