"""The balancer's cookies: byte for byte what the XDP program makes, and good for one client only."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import IPv6Address

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from wire_strategies import spis

from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.cookie import (
    ANSWER_SIZE_BYTES,
    COOKIE_SIZE_BYTES,
    CookieKeys,
    cookie_demand,
    deserves_demand,
    first_cookie,
    siphash_2_4,
)
from engine.wire.header import HEADER_SIZE_BYTES, INITIATOR_FLAG, RESPONSE_FLAG, parse_header
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType, parse_message

KEY = bytes(range(16))
CLIENT = IPv6Address("::ffff:192.0.2.1").packed
SPI = 0x1122_3344_5566_7788
PREVIOUS_KEY = bytes(range(100, 116))
keys = st.builds(CookieKeys, st.integers(0, 255), st.binary(min_size=16, max_size=16), st.just(PREVIOUS_KEY))
addresses = st.binary(min_size=16, max_size=16)


def test_the_hash_is_the_published_one() -> None:
    """The authors' reference vector for a message of 24 bytes (vectors_sip64 in their vectors.h)."""
    assert siphash_2_4(KEY, bytes(range(24))).to_bytes(8, "little").hex() == "94af49f6c650adb8"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_the_hash_is_that_of_openssl(seed: int) -> None:
    """Another implementation agrees, whichever bits are set."""
    key, message = bytes(37 * (seed + n) % 256 for n in range(16)), bytes(101 * (seed + n) % 256 for n in range(24))
    asked = ["openssl", "mac", "-macopt", f"hexkey:{key.hex()}", "-macopt", "size:8", "-binary", "SIPHASH"]
    told = subprocess.run(asked, input=message, capture_output=True, check=True, timeout=10).stdout
    assert siphash_2_4(key, message).to_bytes(8, "little") == told


def test_a_cookie_byte_by_byte() -> None:
    """The key's number, then the hash of the mapped address and the SPI as it stands on the wire, little endian."""
    cookie = CookieKeys(7, KEY, bytes(16)).cookie(CLIENT, SPI)
    hashed = siphash_2_4(KEY, bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + bytes.fromhex("1122334455667788"))
    assert cookie == b"\x07" + hashed.to_bytes(8, "little")
    assert len(cookie) == COOKIE_SIZE_BYTES


def test_a_demand_byte_by_byte() -> None:
    """The answer of RFC 7296 section 2.6: SPIr 0, one notify of type 16390, 45 bytes in all."""
    demand = cookie_demand(SPI, b"123456789")
    assert demand.hex(" ") == (
        "11 22 33 44 55 66 77 88 00 00 00 00 00 00 00 00 29 20 22 20 00 00 00 00 00 00 00 2d "
        "00 00 00 11 00 00 40 06 31 32 33 34 35 36 37 38 39"
    )
    assert len(demand) == ANSWER_SIZE_BYTES
    notify = parse_message(demand).notify(NotifyType.COOKIE)
    assert notify is not None
    assert notify.data == b"123456789"


@given(keys, addresses, addresses, spis, spis)
def test_a_cookie_is_good_for_its_address_and_spi_only(
    keys: CookieKeys, address: bytes, other_address: bytes, spi: int, other_spi: int
) -> None:
    """Who hears a cookie can use it for nothing else."""
    assume(address != other_address and spi != other_spi)
    cookie = keys.cookie(address, spi)
    assert keys.verify(cookie, address, spi)
    assert not keys.verify(cookie, other_address, spi)
    assert not keys.verify(cookie, address, other_spi)


@given(keys, addresses, spis, st.binary(max_size=30))
def test_made_up_cookies_are_refused(keys: CookieKeys, address: bytes, spi: int, made_up: bytes) -> None:
    """Whatever their length; and one bit more or less makes a good one bad."""
    cookie = keys.cookie(address, spi)
    assume(made_up != cookie)
    assert not keys.verify(made_up, address, spi)
    assert not keys.verify(cookie + b"\0", address, spi)
    for bit in range(8 * len(cookie)):
        flipped = bytearray(cookie)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not keys.verify(bytes(flipped), address, spi)


@given(keys, addresses, spis)
@example(CookieKeys(255, KEY, bytes(16)), CLIENT, SPI)
def test_a_cookie_outlives_one_rotation_and_not_two(keys: CookieKeys, address: bytes, spi: int) -> None:
    """Also where the key's number starts again at 0."""
    cookie = keys.cookie(address, spi)
    after_one = keys.successor(b"a" * 16)
    assert after_one.number == (keys.number + 1) % 256
    assert after_one.verify(cookie, address, spi)
    assert not after_one.successor(b"b" * 16).verify(cookie, address, spi)


def readable(message: bytes) -> tuple[bool, bytes]:
    """Whether a first message deserves a demand, and the cookie that it brings."""
    header, content = parse_header(message), memoryview(message)[HEADER_SIZE_BYTES:]
    return deserves_demand(header, content), first_cookie(header, content)


def test_a_repeated_message_brings_its_cookie() -> None:
    """In front of all else."""
    cookie = notify_payload(NotifyType.COOKIE, b"123456789")
    assert readable(build_message([cookie, nonce_payload(bytes(32))], spi_i=SPI)) == (True, b"123456789")
    assert readable(build_message([nonce_payload(bytes(32)), cookie], spi_i=SPI)) == (True, b"")
    assert readable(build_message([nonce_payload(bytes(32))], spi_i=SPI)) == (True, b"")


def test_other_notifies_in_front_are_no_cookies() -> None:
    """Of another type, or with an SPI."""
    nonce = nonce_payload(bytes(32))
    other = notify_payload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))
    spied = notify_payload(NotifyType.COOKIE, b"123456789", spi=bytes(4))
    assert readable(build_message([other, nonce], spi_i=SPI)) == (True, b"")
    assert readable(build_message([spied, nonce], spi_i=SPI)) == (True, b"")


def sized(size_bytes: int) -> bytes:
    """A first message of so many bytes."""
    return build_message([nonce_payload(bytes(size_bytes - HEADER_SIZE_BYTES - 4))], spi_i=SPI)


NONCE = [nonce_payload(bytes(32))]
UNDESERVING = {
    "no longer than the answer": sized(ANSWER_SIZE_BYTES),
    "an SPI of the responder": build_message(NONCE, spi_i=SPI, spi_r=1),
    "a later message id": build_message(NONCE, spi_i=SPI, message_id=1),
    "from no initiator": build_message(NONCE, spi_i=SPI, flags=0),
    "nothing in it": build_message([], spi_i=SPI) + bytes(100),
    "encrypted": build_message([(PayloadType.SK, bytes(64))], spi_i=SPI),
    "a first payload that is too short": build_message(NONCE, spi_i=SPI)[:30] + b"\0\3" + bytes(32),
    "a first payload that is too long": build_message(NONCE, spi_i=SPI)[:30] + b"\0\x25" + bytes(32),
}


@pytest.mark.parametrize("message", UNDESERVING.values(), ids=list(UNDESERVING))
def test_what_no_client_sends_gets_no_demand(message: bytes) -> None:
    """Nor does what is so short that the answer would be longer."""
    assert not readable(message)[0]


def test_the_shortest_message_that_gets_a_demand_is_longer_than_it() -> None:
    """Nobody is sent more than was sent in its name."""
    assert readable(sized(ANSWER_SIZE_BYTES + 1))[0]


@given(st.binary(max_size=80), st.integers(0, 255), st.sampled_from([INITIATOR_FLAG, RESPONSE_FLAG, 0]))
@example(b"\0\0\xff\xff\0\0\x40\x06" + bytes(20), PayloadType.N, INITIATOR_FLAG)
def test_whatever_comes_is_read_without_harm(content: bytes, first: int, flags: int) -> None:
    """No bytes behind a header that was read raise anything; and what gets a demand is longer than it."""
    header = bytearray(build_message([], spi_i=SPI, flags=flags))
    header[16], header[24:28] = first, (HEADER_SIZE_BYTES + len(content)).to_bytes(4)
    deserves, cookie = readable(bytes(header) + content)
    assert len(cookie) <= len(content)
    assert not deserves or HEADER_SIZE_BYTES + len(content) > ANSWER_SIZE_BYTES
