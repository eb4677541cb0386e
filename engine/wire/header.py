"""The 28-byte IKE header: the part of every IKE message that a balancer can always read."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from engine.wire.errors import WireError

HEADER_SIZE_BYTES: Final = 28
IKEV2: Final = 0x20
"""Version field of IKEv2: major 2, minor 0."""
INITIATOR_FLAG: Final = 0x08
RESPONSE_FLAG: Final = 0x20

_HEADER = struct.Struct("!QQBBBBII")


class Exchange(IntEnum):
    """Exchange types of IKEv2 (RFC 7296 section 3.1, RFC 5723, RFC 9242, RFC 9370)."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_SESSION_RESUME = 38
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


_EXCHANGE_NAMES = {exchange.value: exchange.name for exchange in Exchange}


def exchange_name(exchange: int) -> str:
    """Name an exchange type; one we do not know is shown by its number."""
    return _EXCHANGE_NAMES.get(exchange, f"exchange {exchange}")


class IkeHeader(msgspec.Struct, frozen=True, gc=False):
    """An IKE header (RFC 7296 section 3.1); `length` is in bytes and counts the header itself."""

    # One is made for every IKE message: this record is made six times faster than a frozen dataclass.
    spi_i: int
    spi_r: int
    next_payload: int
    version: int
    exchange: int
    flags: int
    message_id: int
    length: int

    @property
    def initiator(self) -> bool:
        """Whether the sender is the original initiator of the IKE SA, so that `spi_i` is its own."""
        return self.flags & INITIATOR_FLAG != 0

    @property
    def response(self) -> bool:
        """Whether this answers the request with the same message id; what asks for every message looks at `flags`."""
        return self.flags & RESPONSE_FLAG != 0

    def pack(self) -> bytes:
        """Write the 28 bytes; raises struct.error for a field that does not fit."""
        return _HEADER.pack(
            self.spi_i,
            self.spi_r,
            self.next_payload,
            self.version,
            self.exchange,
            self.flags,
            self.message_id,
            self.length,
        )


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> IkeHeader:
    """Read the IKE header at `offset` of a datagram.

    Bytes after the message's own length are tolerated. Raises WireError only.
    """
    arrived_bytes = len(data) - offset
    if arrived_bytes < HEADER_SIZE_BYTES:
        raise WireError("runt", f"an IKE header takes 28 bytes, here are {max(arrived_bytes, 0)}")
    header = IkeHeader(*_HEADER.unpack_from(data, offset))
    if header.version >> 4 == 2 and header.spi_i and HEADER_SIZE_BYTES <= header.length <= arrived_bytes:
        return header
    raise _fault(header, arrived_bytes)


def _fault(header: IkeHeader, arrived_bytes: int) -> WireError:
    major = header.version >> 4
    if major == 1:
        return WireError("ike-v1", "the peer speaks IKEv1; only IKEv2 is balanced")
    if major != 2:
        return WireError("ike-version", f"major version {major} is not IKEv2")
    if header.spi_i == 0:
        return WireError("zero-spi", "the initiator SPI of an IKE message is never zero")
    if header.length < HEADER_SIZE_BYTES:
        return WireError("bad-length", f"a message of {header.length} bytes cannot hold its own header")
    return WireError("truncated", f"the message has {header.length} bytes, {arrived_bytes} arrived")
