"""What stands in an IKE message outside of encryption, read without reading the rest."""

from __future__ import annotations

from typing import Final

from engine.wire.errors import WireError
from engine.wire.header import HEADER_SIZE_BYTES, Exchange, IkeHeader, parse_header
from engine.wire.notifies import Notify, parse_notify
from engine.wire.payloads import PayloadType, payload_chain

LARGEST_COMPLAINT_BYTES: Final = 400
"""Errors and cookie demands are a notify and perhaps vendor ids: nobody makes us read more than that."""

CONTENT: Final = frozenset({PayloadType.SK, PayloadType.SKF, PayloadType.SA, 0})
"""First payloads of messages that complain of nothing: encrypted ones, and agreements."""
_INIT = Exchange.IKE_SA_INIT
_NOTIFY, _VENDOR = PayloadType.N, PayloadType.V


def complaints(header: IkeHeader, data: bytes | bytearray | memoryview, offset: int) -> tuple[Notify, ...]:
    """Read the notifies of an unencrypted answer, or of a message outside of any IKE SA; `offset`: of its header.

    Empty for whatever sets an IKE SA up or is encrypted, and for what cannot be read.
    """
    if header.next_payload in CONTENT or header.length > LARGEST_COMPLAINT_BYTES:
        return ()
    if header.exchange == _INIT and not header.response:
        return ()
    content = bytes(data[offset + HEADER_SIZE_BYTES : offset + header.length])
    try:
        return tuple(parse_notify(body) for _, body in payload_chain(header.next_payload, content, _NOTIFY))
    except WireError:
        return ()


def read_vendor_ids(message: bytes) -> tuple[bytes, ...]:
    """The vendor ids of an IKE message, without non-ESP marker; raises WireError only."""
    header = parse_header(message)
    content = message[HEADER_SIZE_BYTES : header.length]
    return tuple([body for _, body in payload_chain(header.next_payload, content, _VENDOR)])
