"""What honest peers say: IKE and ESP with a checksum under a common key, so that servers can tell garbage apart."""

from __future__ import annotations

import struct
from hashlib import blake2b
from random import Random

from engine.wire.build import Payload, build_message, ke_payload, nonce_payload
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import HEADER_SIZE_BYTES, INITIATOR_FLAG, RESPONSE_FLAG, Exchange, IkeHeader
from engine.wire.notifies import Notify, NotifyType
from engine.wire.payloads import PayloadType

_KEY = b"shared by the honest"
_CHECKSUM_BYTES = 8
_SEALED_AT = HEADER_SIZE_BYTES + 4
_SPI = struct.Struct("!Q")
"""An IKE SPI."""
_ESP = struct.Struct("!II")
_ACCEPTED: list[Payload] = [ke_payload(31, bytes(32)), nonce_payload(bytes(32))]


def init_request(rng: Random, spi_i: int) -> bytes:
    """Ask for an IKE SA."""
    return build_message([ke_payload(31, rng.randbytes(32)), nonce_payload(rng.randbytes(32))], spi_i=spi_i)


def init_response(request: IkeHeader) -> bytes:
    """Accept an IKE SA; the responder's SPI follows from the initiator's, so that servers remember nothing."""
    return build_message(_ACCEPTED, spi_i=request.spi_i, spi_r=responder_spi(request.spi_i), flags=RESPONSE_FLAG)


def responder_spi(spi_i: int) -> int:
    """The SPI that a server gives to an IKE SA."""
    return int.from_bytes(_checksum(_SPI.pack(spi_i)), "big")


def sealed(spi_i: int, exchange: Exchange, message_id: int, size_bytes: int, *, response: bool = False) -> bytes:
    """An encrypted message of a peer that has the IKE SA, for the NAT-T port."""
    flags = RESPONSE_FLAG if response else INITIATOR_FLAG
    spi_r = responder_spi(spi_i)
    seal = _checksum(_SPI.pack(spi_i) + bytes([exchange, message_id, flags]))
    return NON_ESP_MARKER + build_message(
        [(PayloadType.SK, seal + bytes(size_bytes))],
        spi_i=spi_i,
        spi_r=spi_r,
        exchange=exchange,
        flags=flags,
        message_id=message_id,
    )


def is_sealed(header: IkeHeader, message: bytes) -> bool:
    """Whether a message, without its marker, comes from a peer that has the IKE SA."""
    said = _SPI.pack(header.spi_i) + bytes([header.exchange, header.message_id & 0xFF, header.flags])
    return message[_SEALED_AT : _SEALED_AT + _CHECKSUM_BYTES] == _checksum(said)


def no_such_sa(request: IkeHeader) -> bytes:
    """Tell a stranger in the clear that there is no such IKE SA (RFC 7296 section 2.21.4)."""
    return NON_ESP_MARKER + build_message(
        [(PayloadType.N, Notify(NotifyType.INVALID_IKE_SPI, 0, b"", b"").pack())],
        spi_i=request.spi_i,
        spi_r=request.spi_r,
        exchange=request.exchange,
        flags=RESPONSE_FLAG,
        message_id=request.message_id,
    )


def esp(spi: int, sequence: int, content: bytes) -> bytes:
    """An ESP packet that its receiver can authenticate."""
    packet = _ESP.pack(spi, sequence) + content
    return packet + _checksum(packet)


def is_esp(packet: bytes) -> bool:
    """Whether an ESP packet comes from an honest peer."""
    return packet[-_CHECKSUM_BYTES:] == _checksum(packet[:-_CHECKSUM_BYTES])


def _checksum(data: bytes) -> bytes:
    return blake2b(data, key=_KEY, digest_size=_CHECKSUM_BYTES).digest()
