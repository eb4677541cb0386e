"""Writing IKE messages: for probes, for the demo's peers, and for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from engine.wire.header import HEADER_SIZE_BYTES, IKEV2, INITIATOR_FLAG, Exchange, IkeHeader
from engine.wire.notifies import Notify
from engine.wire.payloads import PayloadType
from engine.wire.proposals import Proposal, pack_proposals

Payload = tuple[int, bytes]
"""A payload's type and its body, without the generic payload header."""

_GENERIC = struct.Struct("!BxH")


def build_message(
    payloads: Sequence[Payload] = (),
    *,
    spi_i: int,
    spi_r: int = 0,
    exchange: int = Exchange.IKE_SA_INIT,
    flags: int = INITIATOR_FLAG,
    message_id: int = 0,
    version: int = IKEV2,
) -> bytes:
    """Write an IKE message around these payloads; raises struct.error for a field that does not fit."""
    first, *following = [*(payload_type for payload_type, _ in payloads), 0]
    content = b"".join(
        _GENERIC.pack(next_type, _GENERIC.size + len(body)) + body
        for next_type, (_, body) in zip(following, payloads, strict=True)
    )
    header = IkeHeader(
        spi_i=spi_i,
        spi_r=spi_r,
        next_payload=first,
        version=version,
        exchange=exchange,
        flags=flags,
        message_id=message_id,
        length=HEADER_SIZE_BYTES + len(content),
    )
    return header.pack() + content


def sa_payload(*proposals: Proposal) -> Payload:
    """Offer these proposals, or as an answer accept the only one."""
    return PayloadType.SA, pack_proposals(proposals)


def ke_payload(group: int, public_key: bytes) -> Payload:
    """Give the public key for a key exchange method (RFC 7296 section 3.4)."""
    return PayloadType.KE, struct.pack("!H2x", group) + public_key


def nonce_payload(nonce: bytes) -> Payload:
    """Give a nonce of 16 to 256 bytes (RFC 7296 section 3.9)."""
    return PayloadType.NONCE, nonce


def notify_payload(notify_type: int, data: bytes = b"", *, protocol: int = 0, spi: bytes = b"") -> Payload:
    """Say something that is no key and no proposal (RFC 7296 section 3.10)."""
    return PayloadType.N, Notify(notify_type, protocol, spi, data).pack()


def vendor_payload(vendor_id: bytes) -> Payload:
    """Say which product this is (RFC 7296 section 3.12)."""
    return PayloadType.V, vendor_id
