"""The balancer's own cookies (RFC 7296 section 2.6): made from nothing but the request, so nothing is kept for it."""

from __future__ import annotations

import struct
from hmac import compare_digest
from typing import Final

import msgspec

from engine.wire.build import build_message, notify_payload
from engine.wire.header import HEADER_SIZE_BYTES, INITIATOR_FLAG, RESPONSE_FLAG, IkeHeader
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType

KEY_SIZE_BYTES: Final = 16
COOKIE_SIZE_BYTES: Final = 9
ANSWER_SIZE_BYTES: Final = HEADER_SIZE_BYTES + 8 + COOKIE_SIZE_BYTES
"""An IKE message that demands a cookie: 45 bytes, less than any request that could be meant seriously."""

_WORDS = struct.Struct("<QQ")
_MESSAGE_WORDS = struct.Struct("<QQQ")
_MAC = struct.Struct("<Q")
_SPI = struct.Struct("!Q")
_LENGTH = struct.Struct("!xxH")
_FIRST_NOTIFY = struct.Struct("!xxHBBH")
"""Length, protocol, SPI size and type of a notify, from its generic payload header on."""
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_CLEAR_PAYLOADS = range(PayloadType.SA, PayloadType.SK)


class CookieKeys(msgspec.Struct, frozen=True):
    """The secrets behind the cookies that count: the present one, and the one before for retries under way."""

    number: int
    """The present key's generation, modulo 256."""
    current: bytes
    previous: bytes

    def successor(self, key: bytes) -> CookieKeys:
        """The keys after a rotation: the older of the two is forgotten."""
        return CookieKeys((self.number + 1) % 256, key, self.current)

    def cookie(self, address: bytes, spi_i: int) -> bytes:
        """The cookie that a client must repeat: 9 bytes that name the key and bind 16 bytes of address and its SPI."""
        return bytes((self.number,)) + _mac(self.current, address, spi_i)

    def verify(self, cookie: bytes, address: bytes, spi_i: int) -> bool:
        """Whether a cookie was given to this address for this SPI, one or two rotations ago at most."""
        if len(cookie) != COOKIE_SIZE_BYTES:
            return False
        match (self.number - cookie[0]) % 256:
            case 0:
                key = self.current
            case 1:
                key = self.previous
            case _:
                return False
        return compare_digest(cookie[1:], _mac(key, address, spi_i))


def cookie_demand(spi_i: int, cookie: bytes) -> bytes:
    """The answer to an IKE_SA_INIT request that asks to repeat it with this cookie, without non-ESP marker."""
    return build_message([notify_payload(NotifyType.COOKIE, cookie)], spi_i=spi_i, flags=RESPONSE_FLAG)


def deserves_demand(header: IkeHeader, content: memoryview) -> bool:
    """Whether a first message is one that a client can have sent; `content` begins after the header.

    It is longer than the answer, so that nobody is flooded by way of the balancer, and begins with a payload in clear.
    """
    if header.spi_r or header.message_id or not header.flags & INITIATOR_FLAG:
        return False
    if header.length <= ANSWER_SIZE_BYTES or header.next_payload not in _CLEAR_PAYLOADS:
        return False
    length: int = _LENGTH.unpack_from(content)[0]
    return 4 <= length <= header.length - HEADER_SIZE_BYTES


def first_cookie(header: IkeHeader, content: memoryview) -> bytes:
    """The cookie in front of all else, where RFC 7296 section 2.6 wants it; empty: there is none."""
    if header.next_payload != PayloadType.N or len(content) < _FIRST_NOTIFY.size:
        return b""
    length, _, spi_size, notify_type = _FIRST_NOTIFY.unpack_from(content)
    if notify_type != NotifyType.COOKIE or spi_size:
        return b""
    return bytes(content[_FIRST_NOTIFY.size : length])


def siphash_2_4(key: bytes, message: bytes) -> int:
    """SipHash-2-4 of exactly 24 bytes under a key of 16 (Aumasson and Bernstein, 2012)."""
    low: int
    high: int
    low, high = _WORDS.unpack(key)
    v0, v1 = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D
    v2, v3 = low ^ 0x6C7967656E657261, high ^ 0x7465646279746573
    # The last word holds the message's length and, of 24 bytes, nothing else.
    for word in (*_MESSAGE_WORDS.unpack(message), len(message) << 56):
        v3 ^= word
        v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3))
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
    v0 = (v0 << 32 | v0 >> 32) & _MASK
    v2 = (v2 + v3) & _MASK
    v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
    v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3


def _mac(key: bytes, address: bytes, spi_i: int) -> bytes:
    return _MAC.pack(siphash_2_4(key, address + _SPI.pack(spi_i)))
