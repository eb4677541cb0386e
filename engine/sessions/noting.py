"""What is kept of each IKE message that passes: its header, whether it came before, what it complains of."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from engine.sessions.flow import Port
from engine.sessions.session import MESSAGES_KEPT, PACKED_MESSAGE, Session
from engine.sessions.table import DELETED_QUIET_S, SessionTable
from engine.sessions.trouble import Complaint
from engine.wire.cleartext import CONTENT, complaints
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import RESPONSE_FLAG, Exchange, IkeHeader
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType

REKEYED_SA_DELETED_S = 3.0
"""Whoever rekeyed an IKE SA deletes the old one within this time: the session goes on under new SPIs."""
CHECKSUM_BYTES: Final = 4
CHECKSUMS_KEPT: Final = 16
PACKED_BYTES_KEPT: Final = PACKED_MESSAGE.size * MESSAGES_KEPT

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_INIT, _AUTH = Exchange.IKE_SA_INIT, Exchange.IKE_AUTH
_CREATE_CHILD, _INFORMATIONAL = Exchange.CREATE_CHILD_SA, Exchange.INFORMATIONAL
_COOKIE = NotifyType.COOKIE
_NAT_T = Port.NAT_T
_ENCRYPTED = frozenset({PayloadType.SK, PayloadType.SKF})


def note(
    table: SessionTable,
    session: Session,
    port: Port,
    header: IkeHeader,
    data: bytes | memoryview,
    now_s: float,
    *,
    inward: bool,
) -> bool:
    """Take note of one IKE message of a session, `data` being the datagram; says whether it demands a cookie."""
    exchange, response = header.exchange, header.flags & RESPONSE_FLAG != 0
    checksum = crc32(data).to_bytes(CHECKSUM_BYTES)
    # A retransmission is the same to the bit (RFC 7296 section 2.1). What comes again in other words is none: the
    # fragments of one message (RFC 7383), IKE_SA_INIT with a cookie.
    repeated = session.checksums.find(checksum) >= 0  # `in` tries for a number first, and fails expensively
    if repeated:
        _count_retransmission(session, inward)
    else:
        session.checksums = (session.checksums + checksum)[-CHECKSUM_BYTES * CHECKSUMS_KEPT :]
    packed = PACKED_MESSAGE.pack(now_s, inward, exchange, header.message_id, response, len(data), repeated)
    session.packed_messages = (session.packed_messages + packed)[-PACKED_BYTES_KEPT:]
    session.last_seen_s = now_s
    session.deleted_s = 0.0
    table.mark(session)
    if exchange == _INIT:
        if inward and session.init_s is None:
            session.init_s = now_s
    elif exchange == _AUTH:
        if response and not inward and session.half_open:
            session.auth_answered_s = now_s
    elif exchange == _CREATE_CHILD:
        session.rekeyed_s = now_s
    elif exchange == _INFORMATIONAL and response and header.next_payload in _ENCRYPTED:
        rekeyed = session.rekeyed_s > 0 and now_s - session.rekeyed_s < REKEYED_SA_DELETED_S
        if not rekeyed and _ends_deletion(session):
            session.deleted_s = now_s
            table.look_again(session, now_s + DELETED_QUIET_S)
    if header.next_payload in CONTENT:
        return False
    demands_cookie = False
    for notify in complaints(header, data, len(NON_ESP_MARKER) if port is _NAT_T else 0):
        if notify.is_error:
            session.complaint = Complaint(now_s, inward, exchange, notify)
        elif notify.type == _COOKIE:
            demands_cookie = not inward
    return demands_cookie


def _count_retransmission(session: Session, inward: bool) -> None:
    if inward:
        session.retransmitted_in += 1
        session.server.retransmitted_in += 1
    else:
        session.retransmitted_out += 1
        session.server.retransmitted_out += 1


def _ends_deletion(session: Session) -> bool:
    """Whether an INFORMATIONAL answer, the latest message, may end the deletion of the IKE SA (RFC 7296 section 1.4.1).

    Such a request carries a Delete payload and its answer nothing; a liveness check is empty both ways, the deletion
    of a CHILD SA is answered in kind. A MOBIKE update looks alike: only the silence after it tells. What is said in the
    clear, as to a forged request, deletes nothing.
    """
    *before, answer = session.messages
    for message in reversed(before):
        if message.message_id == answer.message_id and message.inward is not answer.inward:
            return message.exchange == answer.exchange and message.size_bytes > answer.size_bytes
    return False
