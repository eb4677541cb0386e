"""The cleartext payload chain of an IKE message: what a balancer can show besides the header."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from engine.wire.algorithms import key_exchange_name
from engine.wire.errors import WireError
from engine.wire.header import HEADER_SIZE_BYTES, IkeHeader, parse_header
from engine.wire.notifies import Notify, parse_notify
from engine.wire.proposals import Proposal, parse_proposals

MAX_PAYLOADS: Final = 64
"""Of one message: far more than any peer has reason to send."""

_GENERIC = struct.Struct("!BxH")
_GENERIC_BYTES: Final = _GENERIC.size
_KEY_EXCHANGE = struct.Struct("!H2x")
_FRAGMENT = struct.Struct("!HH")


class PayloadType(IntEnum):
    """Payload types of IKEv2 (RFC 7296 section 3.2, RFC 7383), by their short names there."""

    SA = 33
    KE = 34
    ID_I = 35
    ID_R = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    N = 41
    D = 42
    V = 43
    TS_I = 44
    TS_R = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53


_NAMES = {payload.value: payload.name for payload in PayloadType}
_ENCRYPTED: Final = frozenset({PayloadType.SK, PayloadType.SKF})


def payload_name(payload_type: int) -> str:
    """Name a payload type; one we do not know is shown by its number."""
    return _NAMES.get(payload_type, f"payload {payload_type}")


class Fragment(msgspec.Struct, frozen=True):
    """Which piece of a fragmented message this is, counted from 1 (RFC 7383 section 2.5)."""

    number: int
    total: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What an IKE message shows to a bystander; everything after an encrypted payload stays unseen."""

    header: IkeHeader
    payloads: tuple[int, ...]
    """Payload types in their order; an encrypted one is the last."""
    proposals: tuple[Proposal, ...] = ()
    ke_group: int | None = None
    """Key exchange method; None without a KE payload."""
    nonce_size_bytes: int | None = None
    """None without a nonce."""
    notifies: tuple[Notify, ...] = ()
    vendor_ids: tuple[bytes, ...] = ()
    encrypted: bool = False
    fragment: Fragment | None = None
    """For an encrypted fragment (SKF): which one."""

    @property
    def ke_name(self) -> str:
        """The key exchange group as server configurations spell it; empty without a KE payload."""
        return "" if self.ke_group is None else key_exchange_name(self.ke_group)

    def notify(self, notify_type: int) -> Notify | None:
        """The first notify of this type, if there is one."""
        return next((notify for notify in self.notifies if notify.type == notify_type), None)


def parse_message(data: bytes | bytearray | memoryview, offset: int = 0) -> Message:
    """Read the IKE message at `offset` of a datagram.

    For people and statistics: forwarding needs `parse_header` only. Raises WireError only.
    """
    header = parse_header(data, offset)
    content = bytes(data[offset + HEADER_SIZE_BYTES : offset + header.length])
    types: list[int] = []
    proposals: tuple[Proposal, ...] = ()
    ke_group: int | None = None
    nonce_size_bytes: int | None = None
    notifies: list[Notify] = []
    vendor_ids: list[bytes] = []
    fragment: Fragment | None = None
    for payload_type, body in payload_chain(header.next_payload, content):
        types.append(payload_type)
        match payload_type:
            case PayloadType.SA:
                proposals = parse_proposals(body)
            case PayloadType.KE:
                (ke_group,) = _fields(_KEY_EXCHANGE, body, "a KE payload")
            case PayloadType.NONCE:
                nonce_size_bytes = len(body)
            case PayloadType.N:
                notifies.append(parse_notify(body))
            case PayloadType.V:
                vendor_ids.append(body)
            case PayloadType.SKF:
                fragment = Fragment(*_fields(_FRAGMENT, body, "an encrypted fragment"))
    return Message(
        header=header,
        payloads=tuple(types),
        proposals=proposals,
        ke_group=ke_group,
        nonce_size_bytes=nonce_size_bytes,
        notifies=tuple(notifies),
        vendor_ids=tuple(vendor_ids),
        encrypted=any(payload_type in _ENCRYPTED for payload_type in types),
        fragment=fragment,
    )


def payload_chain(payload_type: int, content: bytes, only: int | None = None) -> list[tuple[int, bytes]]:
    """Type and body of each payload, or of those of `only` one type; nothing follows an encrypted one.

    Raises WireError only.
    """
    chain: list[tuple[int, bytes]] = []
    at, size, left = 0, len(content), MAX_PAYLOADS
    while payload_type:
        if not left:
            raise WireError("bad-payload", f"the message has more than {MAX_PAYLOADS} payloads")
        left -= 1
        body_at = at + _GENERIC_BYTES
        if body_at > size:
            raise WireError("bad-payload", f"the message ends before its {payload_name(payload_type)} payload")
        next_type, length = _GENERIC.unpack_from(content, at)
        at += length
        if at < body_at or at > size:
            raise WireError("bad-payload", f"a {payload_name(payload_type)} payload cannot have {length} bytes here")
        if only is None or payload_type == only:
            chain.append((payload_type, content[body_at:at]))
        if payload_type in _ENCRYPTED:
            return chain
        payload_type = next_type
    if at != size:
        raise WireError("bad-payload", f"{size - at} bytes follow the last payload")
    return chain


def _fields(layout: struct.Struct, body: bytes, what: str) -> tuple[int, ...]:
    """Unpack the fixed fields at the start of a payload's body."""
    if len(body) < layout.size:
        raise WireError("bad-payload", f"{what} takes {layout.size} bytes, here are {len(body)}")
    return layout.unpack_from(body)
