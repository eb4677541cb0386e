"""IKE_SA_INIT requests while their service challenges newcomers: what is answered has the slow path's very bytes."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from fastpath_newcomers import (
    CHALLENGED,
    IKE_PORT,
    KEYS,
    NAT_T_PORT,
    PROTECTED,
    SPI,
    Tally,
    answered,
    check_rate,
    demanded,
    first_message,
    kept_off,
    mapped,
    newcomer,
    on_port,
    protect,
    repeated_with,
)
from fastpath_world import WAN, Family, Verdict, World, passed_up
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from engine.fastpath.layout import Outcome as Kept
from engine.fastpath.layout import Reason
from engine.wire.build import build_message, notify_payload
from engine.wire.cookie import CookieKeys
from engine.wire.header import RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType, parse_message

families = pytest.mark.parametrize("family", list(Family))
service_ports = pytest.mark.parametrize("port", [IKE_PORT, NAT_T_PORT])
OTHER_KEYS = CookieKeys(KEYS.number, bytes(range(50, 66)), bytes(range(150, 166)))


@pytest.fixture(autouse=True)
def _challenging(shared_world: World) -> None:
    """The service asks for cookies."""
    protect(shared_world, KEYS, CHALLENGED)


@families
@service_ports
def test_a_request_without_cookie_is_answered_with_the_demand_for_one(
    shared_world: World, family: Family, port: int
) -> None:
    """Turned round, byte for byte what the slow path would answer, both checksums as scapy computes them."""
    client, tally = newcomer(family, port), Tally(shared_world)
    outcome = shared_world.run(client.frame(on_port(port, first_message())))
    assert outcome == answered(demanded(client, KEYS))
    assert tally.more() == {Kept.CHALLENGED: 1}


@families
def test_a_demand_is_one_to_a_client(shared_world: World, family: Family) -> None:
    """A client that reads the answer finds a cookie of nine bytes, and nothing else."""
    outcome = shared_world.run(newcomer(family).frame(first_message()))
    message = parse_message(bytes(Ether(outcome.data)[UDP].payload))
    assert (message.header.spi_i, message.header.spi_r, message.header.response) == (SPI, 0, True)
    cookie = message.notify(NotifyType.COOKIE)
    assert cookie is not None
    assert len(cookie.data) == 9


@families
def test_a_device_that_takes_no_redirected_frames_sends_its_own_back(fresh_world: World, family: Family) -> None:
    """As one that has the program in generic mode."""
    protect(fresh_world, KEYS, CHALLENGED)
    fresh_world.forwarding.remove_egress(socket.if_nametoindex(WAN.name))
    client = newcomer(family, IKE_PORT)
    outcome = fresh_world.run(client.frame(first_message()))
    assert outcome == replace(answered(demanded(client, KEYS)), verdict=Verdict.TX)


@families
@service_ports
def test_a_tagged_request_is_answered_with_the_same_tag(shared_world: World, family: Family, port: int) -> None:
    client = newcomer(family, port)
    frame = client.frame(on_port(port, first_message()))
    tag = Dot1Q(vlan=10, prio=5)
    tagged = Ether(src=frame.src, dst=frame.dst) / tag / frame.payload
    answer = Ether(demanded(client, KEYS))
    assert shared_world.run(tagged) == answered(bytes(Ether(src=answer.src, dst=answer.dst) / tag / answer.payload))


@given(data=st.data())
@families
@service_ports
def test_any_request_draws_the_cookie_that_is_due(
    shared_world: World, data: st.DataObject, family: Family, port: int
) -> None:
    """Whatever the client's address, port, SPI, TTL, trailing bytes and the keys."""
    hosts = {Family.V4: "64.0.0.0/3", Family.V6: "2400::/12"}
    spi_i = data.draw(st.integers(1, 2**64 - 1))
    keys = CookieKeys(
        data.draw(st.integers(0, 255)), *(data.draw(st.binary(min_size=16, max_size=16)) for _ in range(2))
    )
    client = newcomer(family, port, data.draw(st.integers(1, 65535)))
    source = str(data.draw(st.ip_addresses(network=hosts[family])))
    client = replace(client, before=replace(client.before, source=source))
    trailing = data.draw(st.binary(max_size=40))
    protect(shared_world, keys, CHALLENGED)
    frame = client.frame(on_port(port, first_message(spi_i=spi_i)) + trailing, hops_left=data.draw(st.integers(1, 255)))
    assert shared_world.run(frame) == answered(demanded(client, keys, spi_i))


@families
@service_ports
def test_a_request_with_its_cookie_passes_untouched(shared_world: World, family: Family, port: int) -> None:
    """Given under the present key or the one before, also where the number of keys begins again."""
    client, tally = newcomer(family, port), Tally(shared_world)
    for keys in (KEYS, CookieKeys(0, KEYS.current, KEYS.previous)):
        for given_under in (keys, CookieKeys((keys.number - 1) % 256, keys.previous, bytes(16))):
            protect(shared_world, keys, CHALLENGED)
            cookie = given_under.cookie(mapped(client.before.source), SPI)
            frame = bytes(client.frame(on_port(port, repeated_with(cookie))))
            assert shared_world.run(frame) == passed_up(frame, Reason.MISS)
    assert tally.more() == {}


@families
@service_ports
@pytest.mark.parametrize("wrong", ["key", "too old", "not yet", "address", "SPI", "one bit"])
def test_a_cookie_that_does_not_count_draws_another(shared_world: World, family: Family, port: int, wrong: str) -> None:
    """As RFC 7296 section 2.6 has it; counted apart from the first demand."""
    client, tally = newcomer(family, port), Tally(shared_world)
    address = mapped(client.before.source)
    keys = {
        "key": OTHER_KEYS,
        "too old": CookieKeys(KEYS.number - 2, KEYS.current, KEYS.previous),
        "not yet": CookieKeys(KEYS.number + 1, KEYS.current, KEYS.previous),
    }.get(wrong, KEYS)
    cookie = keys.cookie(mapped("203.0.113.99") if wrong == "address" else address, SPI + (wrong == "SPI"))
    if wrong == "one bit":
        cookie = cookie[:-1] + bytes([cookie[-1] ^ 0x80])
    outcome = shared_world.run(client.frame(on_port(port, repeated_with(cookie))))
    assert outcome == answered(demanded(client, KEYS))
    assert tally.more() == {Kept.COOKIE_REFUSED: 1}


@families
def test_cookies_of_real_servers_pass_at_a_bounded_rate(fresh_world: World, family: Family) -> None:
    """Only their servers know them: the rest is dropped and counted."""
    protect(fresh_world, KEYS, CHALLENGED)
    frame = bytes(newcomer(family).frame(repeated_with(bytes(24))))
    check_rate(fresh_world, frame, at_once=100, per_s=1000, limited=Kept.FOREIGN_COOKIE_LIMIT)


PASSED: dict[str, bytes] = {
    "a later exchange": build_message([(PayloadType.SK, bytes(80))], spi_i=SPI, spi_r=1, exchange=Exchange.IKE_AUTH),
    "an exchange that is not known": first_message(exchange=99),
    "an answer": first_message(flags=RESPONSE_FLAG, spi_r=9),
}
IMPLAUSIBLE: dict[str, bytes] = {
    "it names the server's SPI": first_message(spi_r=1),
    "it is not the first message": first_message(message_id=1),
    "nobody's initiator": first_message(flags=0),
    "no longer than the answer": build_message([(PayloadType.NONCE, bytes(13))], spi_i=SPI),
    "its first payload is encrypted": build_message([(PayloadType.SK, bytes(80))], spi_i=SPI),
    "its first payload is of no known kind": build_message([(32, bytes(80))], spi_i=SPI),
    "no payload": build_message([(0, bytes(80))], spi_i=SPI),
    "its first payload is longer than itself": first_message()[:30] + b"\xff\xff" + first_message()[32:],
    "its first payload is shorter than its header": first_message()[:30] + b"\x00\x03" + first_message()[32:],
}


@families
@service_ports
@pytest.mark.parametrize("message", PASSED.values(), ids=PASSED)
def test_other_messages_pass(shared_world: World, family: Family, port: int, message: bytes) -> None:
    """Whose they are, the slow path knows."""
    frame = bytes(newcomer(family, port).frame(on_port(port, message)))
    assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@families
@service_ports
@pytest.mark.parametrize("message", IMPLAUSIBLE.values(), ids=IMPLAUSIBLE)
def test_what_no_client_begins_with_is_dropped(shared_world: World, family: Family, port: int, message: bytes) -> None:
    """Nothing is sent to an address in whose name little or nonsense came."""
    tally = Tally(shared_world)
    frame = bytes(newcomer(family, port).frame(on_port(port, message)))
    assert shared_world.run(frame) == kept_off(frame)
    assert tally.more() == {Kept.IMPLAUSIBLE_INIT: 1}


def test_a_cookie_that_is_not_in_front_is_none(shared_world: World) -> None:
    """Nor is one of no bytes, or with an SPI."""
    client = newcomer(Family.V4)
    cookie = KEYS.cookie(mapped(client.before.source), SPI)
    for before in (
        (notify_payload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20)), notify_payload(NotifyType.COOKIE, cookie)),
        (notify_payload(NotifyType.COOKIE),),
        (notify_payload(NotifyType.COOKIE, cookie[4:], spi=bytes(4)),),
    ):
        assert shared_world.run(client.frame(first_message(*before))) == answered(demanded(client, KEYS))


@families
def test_requests_pass_where_demands_may_not_leave(shared_world: World, family: Family) -> None:
    """The slow path challenges then; cookies that count pass as well, and those that do not."""
    protect(shared_world, KEYS, PROTECTED)
    for message in (first_message(), repeated_with(bytes(9))):
        frame = bytes(newcomer(family).frame(message))
        assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@pytest.mark.parametrize(
    "source", ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "::7f00:1"]
)
def test_sources_that_are_no_hosts_are_not_answered(shared_world: World, source: str) -> None:
    """The kernel does not take these."""
    client = newcomer(Family.V6 if ":" in source else Family.V4)
    frame = bytes(replace(client, before=replace(client.before, source=source)).frame(first_message()))
    assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@families
@service_ports
def test_services_that_do_not_challenge_get_every_request(shared_world: World, family: Family, port: int) -> None:
    protect(shared_world)
    for message in (first_message(), repeated_with(bytes(9)), repeated_with(bytes(24)), *IMPLAUSIBLE.values()):
        frame = bytes(newcomer(family, port).frame(on_port(port, message)))
        assert shared_world.run(frame) == passed_up(frame, Reason.MISS)


@given(data=st.data())
@families
@service_ports
def test_damaged_requests_never_make_the_program_write_nonsense(
    shared_world: World, data: st.DataObject, family: Family, port: int
) -> None:
    """Some bytes changed and the end cut off: passed or dropped as it is, or answered by less, with right checksums."""
    cookie = data.draw(st.sampled_from([b"", bytes(9), KEYS.cookie(bytes(16), SPI), bytes(24)]))
    message = repeated_with(cookie) if cookie else first_message()
    frame = bytearray(bytes(newcomer(family, port).frame(on_port(port, message))))
    for at, byte in data.draw(st.dictionaries(st.integers(0, len(frame) - 1), st.integers(0, 255), max_size=4)).items():
        frame[at] = byte
    del frame[data.draw(st.integers(14, len(frame))) :]
    outcome = shared_world.run(bytes(frame))
    assert sum(outcome.reasons.values()) == 1
    if Reason.CHALLENGED not in outcome.reasons:
        assert outcome.data == bytes(frame)
        return
    assert len(outcome.data) < len(frame)
    came, left = Ether(bytes(frame)), Ether(outcome.data)
    network = IP if family is Family.V4 else IPv6
    assert (left.src, left.dst) == (came.dst, came.src)
    assert (left[network].src, left[network].dst) == (came[network].dst, came[network].src)
    checksums = [(layer, left[layer].chksum) for layer in (network, UDP) if hasattr(left[layer], "chksum")]
    for layer, _ in checksums:
        del left[layer].chksum
    again = Ether(bytes(left))
    assert [(layer, again[layer].chksum) for layer, _ in checksums] == checksums
