"""What a UDP payload on the IKE port or the NAT-T port carries (RFC 7296 section 2.23, RFC 3948)."""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final

from engine.wire.errors import WireError
from engine.wire.header import IkeHeader, parse_header

NON_ESP_MARKER: Final = b"\0\0\0\0"
"""Stands before every IKE message on the NAT-T port, where an ESP packet has its SPI."""
KEEPALIVE: Final = b"\xff"
ESP_HEADER_SIZE_BYTES: Final = 8

_FIRST_WORD = struct.Struct("!I")


class Kind(Enum):
    """What a datagram is, before any of it is parsed."""

    IKE = "ike"
    ESP = "esp"
    KEEPALIVE = "keepalive"


_IKE = Kind.IKE


def classify(data: bytes | bytearray | memoryview, size: int, nat_t: bool) -> Kind:
    """Tell what the first `size` bytes of `data` are, on the IKE port or (`nat_t`) the NAT-T port.

    IKE begins at offset 0 on the IKE port, after the non-ESP marker on the NAT-T port; whether it is whole is
    for `parse_header` to say. Raises WireError only.
    """
    if not nat_t:
        return _IKE
    size = min(size, len(data))
    if size < 4:
        if size == 1 and data[0] == 0xFF:
            return Kind.KEEPALIVE
        raise WireError("runt", f"{size} bytes on the NAT-T port are neither keepalive, IKE nor ESP")
    if _FIRST_WORD.unpack_from(data)[0] == 0:
        return _IKE
    if size < ESP_HEADER_SIZE_BYTES:
        raise WireError("runt", f"ESP has at least SPI and sequence number, 8 bytes; here are {size}")
    return Kind.ESP


def read_header(data: bytes | bytearray | memoryview, nat_t: bool) -> IkeHeader | None:
    """The header of an IKE message on either port, None for ESP and keepalives; raises WireError only."""
    if not nat_t:
        return parse_header(data)
    if len(data) >= 4 and not _FIRST_WORD.unpack_from(data)[0]:
        return parse_header(data, 4)
    classify(data, len(data), nat_t)
    return None


def esp_spi(data: bytes | bytearray | memoryview) -> int:
    """Read the SPI of a datagram that is `Kind.ESP`; raises WireError when there are not even 4 bytes."""
    if len(data) < 4:
        raise WireError("runt", f"an ESP SPI takes 4 bytes, here are {len(data)}")
    spi: int = _FIRST_WORD.unpack_from(data)[0]
    return spi
