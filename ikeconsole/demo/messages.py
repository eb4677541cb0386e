"""What the demo's peers say: real IKE headers and payloads around contents that only pretend to be encrypted."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from random import Random
from typing import Final, NamedTuple

from engine.wire.algorithms import TransformType
from engine.wire.build import build_message, ke_payload, nonce_payload, notify_payload, sa_payload, vendor_payload
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.errors import WireError
from engine.wire.header import HEADER_SIZE_BYTES, INITIATOR_FLAG, RESPONSE_FLAG, Exchange, IkeHeader
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType, parse_message
from engine.wire.proposals import Proposal, Transform

AES_GCM: Final = 20
_PRF_SHA256: Final = 5
_X25519: Final = 31
PROPOSAL: Final = Proposal(
    number=1,
    transforms=(
        Transform(TransformType.ENCRYPTION, AES_GCM, 128),
        Transform(TransformType.PRF, _PRF_SHA256),
        Transform(TransformType.KEY_EXCHANGE, _X25519),
    ),
)
DATAGRAM_BYTES: Final = 65_535
"""No datagram is larger."""
INFORMATIONAL_BYTES: Final = 65
"""Usual size of an INFORMATIONAL message with little in it."""

_KEY_BYTES = 32
_NONCE_BYTES = 32
_NAT_HASH_BYTES = 20
_ESP = struct.Struct("!II")
_SEALED = struct.Struct("!BI")
_SEALED_AT = HEADER_SIZE_BYTES + 4
_LEAST_SEALED_BYTES: Final = _SEALED_AT + _SEALED.size


class Purpose(IntEnum):
    """What an encrypted message is about."""

    AUTHENTICATE = 1
    CHECK_LIVENESS = 2
    MOVE = 3
    DELETE = 4


class Sealed(NamedTuple):
    """What only the two peers know of a message."""

    header: IkeHeader
    purpose: Purpose
    esp_spi: int
    """The SPI under which the sender wants to get ESP; 0 where that is not the subject."""


def init_request(rng: Random, spi_i: int, vendor_ids: Sequence[bytes], cookie: bytes = b"") -> bytes:
    """Ask for an IKE SA (RFC 7296 section 1.2), as a client that can move and that NAT does not stop."""
    cookies = [notify_payload(NotifyType.COOKIE, cookie)] if cookie else []
    vendors = [vendor_payload(vendor_id) for vendor_id in vendor_ids]
    return build_message([*cookies, *_init_payloads(rng), *vendors], spi_i=spi_i)


def init_response(rng: Random, request: IkeHeader, spi_r: int) -> bytes:
    """Accept an IKE SA."""
    return _respond(request, _init_payloads(rng), spi_r)


def notify_response(request: IkeHeader, notify_type: int, data: bytes = b"") -> bytes:
    """Answer in the clear with a single notify, as servers do that make no SA."""
    return _respond(request, [notify_payload(notify_type, data)], request.spi_r)


def seal_request(
    rng: Random, purpose: Purpose, *, spi_i: int, spi_r: int, message_id: int, esp_spi: int = 0, size_bytes: int
) -> bytes:
    """Write a client's encrypted request, non-ESP marker included, padded to about `size_bytes`."""
    exchange = Exchange.IKE_AUTH if purpose is Purpose.AUTHENTICATE else Exchange.INFORMATIONAL
    return NON_ESP_MARKER + build_message(
        [_sealed(rng, purpose, esp_spi, size_bytes)],
        spi_i=spi_i,
        spi_r=spi_r,
        exchange=exchange,
        message_id=message_id,
    )


def seal_response(rng: Random, request: Sealed, *, esp_spi: int = 0, size_bytes: int) -> bytes:
    """Answer an encrypted request, padded to about `size_bytes`; without non-ESP marker."""
    header = request.header
    return _respond(header, [_sealed(rng, request.purpose, esp_spi, size_bytes)], header.spi_r)


def unseal(message: bytes) -> Sealed:
    """Read an encrypted message, without non-ESP marker, as the peer with the keys would; raises WireError."""
    parsed = parse_message(message)
    if parsed.payloads != (PayloadType.SK,) or parsed.header.length < _LEAST_SEALED_BYTES:
        raise WireError("bad-payload", "this is not an encrypted message of a demo peer")
    purpose, esp_spi = _SEALED.unpack_from(message, _SEALED_AT)
    if purpose not in list(Purpose):
        raise WireError("bad-payload", f"no demo peer means anything by {purpose}")
    return Sealed(parsed.header, Purpose(purpose), esp_spi)


def esp_packet(rng: Random, spi: int, sequence: int, content_bytes: int) -> bytes:
    """Write an ESP packet (RFC 4303 section 2) whose content looks encrypted."""
    return _ESP.pack(spi, sequence) + rng.randbytes(content_bytes)


def random_spi(rng: Random, bits: int) -> int:
    """Draw an SPI, which is never zero."""
    return rng.randrange(1, 1 << bits)


def _init_payloads(rng: Random) -> list[tuple[int, bytes]]:
    return [
        sa_payload(PROPOSAL),
        ke_payload(_X25519, rng.randbytes(_KEY_BYTES)),
        nonce_payload(rng.randbytes(_NONCE_BYTES)),
        # Random hashes fit no address, so each peer finds a NAT in between, as behind every balancer.
        notify_payload(NotifyType.NAT_DETECTION_SOURCE_IP, rng.randbytes(_NAT_HASH_BYTES)),
        notify_payload(NotifyType.NAT_DETECTION_DESTINATION_IP, rng.randbytes(_NAT_HASH_BYTES)),
        notify_payload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED),
    ]


def _respond(request: IkeHeader, payloads: Sequence[tuple[int, bytes]], spi_r: int) -> bytes:
    return build_message(
        payloads,
        spi_i=request.spi_i,
        spi_r=spi_r,
        exchange=request.exchange,
        flags=RESPONSE_FLAG | (~request.flags & INITIATOR_FLAG),
        message_id=request.message_id,
    )


def _sealed(rng: Random, purpose: Purpose, esp_spi: int, size_bytes: int) -> tuple[int, bytes]:
    padding = rng.randbytes(max(0, size_bytes - _LEAST_SEALED_BYTES))
    return PayloadType.SK, _SEALED.pack(purpose, esp_spi) + padding
