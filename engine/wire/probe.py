"""Stateless questions to an IKE server, and what its answers say about it.

Both were put to strongSwan 5.9.8, on either port. It answers a version probe with INVALID_MAJOR_VERSION before it
looks at anything else, also while it demands cookies; the answer is an IKEv2 message of the same exchange with the
SPIs as sent. It answers an init probe with NO_PROPOSAL_CHOSEN and forgets it in the same breath, or with a
COOKIE while this address has too many half-open IKE SAs.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.wire.algorithms import TransformType
from engine.wire.build import build_message, ke_payload, nonce_payload, sa_payload
from engine.wire.errors import WireError
from engine.wire.header import exchange_name
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from engine.wire.proposals import Proposal, Transform

PROBE_KE_SIZE_BYTES: Final = 256
"""Size of the public key in an init probe, that of a modp2048 group."""

_MODP2048: Final = 14
_SHA256: Final = 12
_PRF_SHA256: Final = 5
_VERSION_3: Final = 0x30
# The encryption algorithm is of the private-use range and means nothing to anyone, so a server that keeps to the
# RFC cannot choose this proposal; the rest is what every server knows, so that none stumbles over it.
_UNACCEPTABLE: Final = Proposal(
    number=1,
    transforms=(
        Transform(TransformType.ENCRYPTION, 0xFFFF),
        Transform(TransformType.INTEGRITY, _SHA256),
        Transform(TransformType.PRF, _PRF_SHA256),
        Transform(TransformType.KEY_EXCHANGE, _MODP2048),
    ),
)


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What an answer to a probe says about the server."""

    alive: bool
    """It speaks IKEv2."""
    busy: bool
    """It demands cookies: too many half-open IKE SAs."""
    detail: str
    """The answer in a word, such as "NO_PROPOSAL_CHOSEN"."""


def version_probe(spi: int) -> bytes:
    """Ask in a major version of IKE that does not exist (RFC 7296 section 2.5): the cheapest question."""
    return build_message(spi_i=spi, version=_VERSION_3)


def init_probe(spi: int, nonce: bytes, ke: bytes) -> bytes:
    """Offer a proposal that no server accepts, so that no SA is made.

    `nonce` has 16 to 256 bytes, `ke` has `PROBE_KE_SIZE_BYTES`; both only need to be random.
    """
    payloads = [sa_payload(_UNACCEPTABLE), ke_payload(_MODP2048, ke), nonce_payload(nonce)]
    return build_message(payloads, spi_i=spi)


def read_answer(data: bytes, spi: int) -> ProbeAnswer:
    """Read the answer to the probe with this SPI, without non-ESP marker; raises WireError when it is none."""
    if int.from_bytes(data[:8]) != spi:
        raise WireError("not-an-answer", "it does not carry the SPI of the probe")
    try:
        message = parse_message(data)
    except WireError as error:
        if error.reason == "ike-v1":
            return ProbeAnswer(alive=False, busy=False, detail="IKEv1 only")
        raise
    if not message.header.response:
        raise WireError("not-an-answer", "it is a request")
    if message.notify(NotifyType.COOKIE):
        return ProbeAnswer(alive=True, busy=True, detail="COOKIE")
    for notify in message.notifies:
        if notify.is_error:
            return ProbeAnswer(alive=True, busy=False, detail=notify.name)
    return ProbeAnswer(alive=True, busy=False, detail=exchange_name(message.header.exchange))
