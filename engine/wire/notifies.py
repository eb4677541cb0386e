"""Notify payloads: what a peer says besides its keys, and what its error codes mean to an operator."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from engine.wire.algorithms import key_exchange_name
from engine.wire.errors import WireError

FIRST_STATUS_TYPE: Final = 16384
"""Notify types below this are errors (RFC 7296 section 3.10.1)."""

KE_GROUP_BYTES: Final = 2
"""INVALID_KE_PAYLOAD carries the group that is wanted (RFC 7296 section 1.2)."""

_NOTIFY = struct.Struct("!BBH")
_FRAGMENTATION_SUPPORTED: Final = bytes.fromhex("00 0008 00 00 402e")
"""The notify as it stands in a message: not critical, 8 bytes, no protocol, no SPI, its type (RFC 7383 section 2.3)."""


class NotifyType(IntEnum):
    """Notify types that peers send in the clear (RFC 7296 section 3.10.1 and its extensions)."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    NO_ADDITIONAL_SAS = 35
    TEMPORARY_FAILURE = 43
    INITIAL_CONTACT = 16384
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    MULTIPLE_AUTH_SUPPORTED = 16404
    REDIRECT_SUPPORTED = 16406
    REDIRECT = 16407
    REDIRECTED_FROM = 16408
    TICKET_NACK = 16412
    TICKET_OPAQUE = 16413
    CHILDLESS_IKEV2_SUPPORTED = 16418
    QUICK_CRASH_DETECTION = 16419
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    PUZZLE = 16434
    USE_PPK = 16435
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438


_NAMES = {notify.value: notify.name for notify in NotifyType}

_MEANINGS: dict[int, str] = {
    NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD: "it does not know a payload that was marked critical",
    NotifyType.INVALID_IKE_SPI: "it has no such IKE SA: it restarted, or is another server; the client must reconnect",
    NotifyType.INVALID_MAJOR_VERSION: "it does not speak this major version of IKE",
    NotifyType.INVALID_SYNTAX: "it could not make sense of the message: see its log",
    NotifyType.INVALID_MESSAGE_ID: "the message id is outside its window",
    NotifyType.INVALID_SPI: "it has no such ESP SA: it restarted, or the SA ended on one side only",
    NotifyType.NO_PROPOSAL_CHOSEN: "it accepts none of the algorithms offered: compare the IKE proposals of both sides",
    NotifyType.INVALID_KE_PAYLOAD: "it wants another key exchange group: the client tries again",
    NotifyType.AUTHENTICATION_FAILED: "it does not accept the credentials",
    NotifyType.NO_ADDITIONAL_SAS: "it takes no more SAs",
    NotifyType.TEMPORARY_FAILURE: "it cannot do it at the moment: the client tries again later",
}
"""Each is said of the peer that sent it."""


def notify_name(notify_type: int) -> str:
    """Name a notify type; one we do not know is shown by its number."""
    return _NAMES.get(notify_type, f"notify {notify_type}")


class Notify(msgspec.Struct, frozen=True):
    """One notify payload (RFC 7296 section 3.10)."""

    type: int
    protocol: int = 0
    spi: bytes = b""
    data: bytes = b""

    @property
    def name(self) -> str:
        """The name an operator finds in the RFC and in server logs."""
        return notify_name(self.type)

    @property
    def is_error(self) -> bool:
        """Whether this reports a failure, not a status."""
        return self.type < FIRST_STATUS_TYPE

    @property
    def meaning(self) -> str:
        """What an error says of its sender, as one clause; empty for a status and for an unknown error."""
        if self.type == NotifyType.INVALID_KE_PAYLOAD and len(self.data) == KE_GROUP_BYTES:
            return f"it wants key exchange group {key_exchange_name(int.from_bytes(self.data))}: the client tries again"
        return _MEANINGS.get(self.type, "")

    def pack(self) -> bytes:
        """Write the payload's body, without the generic payload header."""
        return _NOTIFY.pack(self.protocol, len(self.spi), self.type) + self.spi + self.data


def announces_fragmentation(message: bytes) -> bool:
    """Whether an IKE_SA_INIT message says that its sender supports IKE fragmentation.

    Every answer is asked this: looking for the bytes costs a tenth of reading all payloads.
    """
    return message.find(_FRAGMENTATION_SUPPORTED) >= 0  # `in` costs ten times as much


def parse_notify(body: bytes) -> Notify:
    """Read the body of a notify payload; raises WireError("bad-payload")."""
    if len(body) < _NOTIFY.size:
        raise WireError("bad-payload", f"a notify payload takes 4 bytes, here are {len(body)}")
    protocol, spi_size, notify_type = _NOTIFY.unpack_from(body)
    data_at = _NOTIFY.size + spi_size
    if data_at > len(body):
        raise WireError("bad-payload", f"the SPI of a notify payload says {spi_size} bytes and runs past its end")
    return Notify(notify_type, protocol, body[_NOTIFY.size : data_at], body[data_at:])
