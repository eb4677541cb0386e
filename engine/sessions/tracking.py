"""What passing IKE messages and ESP tell of a session: its SPIs and its phase."""

from __future__ import annotations

from engine.sessions.endings import RECOGNISED
from engine.sessions.flow import Flow
from engine.sessions.session import MESSAGES_KEPT, Message, Phase, Session
from engine.sessions.table import AUTH_QUIET_S, DELETED_QUIET_S, SessionTable
from engine.wire.header import Exchange, IkeHeader
from engine.wire.payloads import PayloadType

INIT_BYTES_KEPT = 2048
REKEYED_SA_DELETED_S = 3.0
"""Whoever rekeyed an IKE SA deletes the old one within this time: the session goes on under new SPIs."""

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_INIT, _AUTH = Exchange.IKE_SA_INIT, Exchange.IKE_AUTH
_CREATE_CHILD, _INFORMATIONAL = Exchange.CREATE_CHILD_SA, Exchange.INFORMATIONAL
_SETTING_UP = frozenset({Exchange.IKE_AUTH, Exchange.IKE_INTERMEDIATE})
_ENCRYPTED = frozenset({PayloadType.SK, PayloadType.SKF})
_SKF = PayloadType.SKF


def ike_from_client(table: SessionTable, flow: Flow, header: IkeHeader, size_bytes: int, now_s: float) -> Session:
    """Take note of an IKE message on its way to the real server; returns its session.

    Raises:
        TableFull: it begins an IKE SA for which there is no room.
    """
    session = flow.service.by_spi.get(header.spi_i)
    if session is None:
        if header.exchange == _INIT and not header.response:
            session = table.open(flow.service, flow.server, flow.client[0], "same flow", now_s, flow)
            table.bind_spis(session, header.spi_i, header.spi_r)
            table.close_deleted(session, now_s)
        else:
            # Bound when the real server answers: anybody can make up SPIs, and new ones push known ones out.
            session = _rekeyed(flow)
    elif flow not in session.flows and session.server is flow.server:
        _recognise(table, flow, session)
    if _authenticates(session, header):
        table.set_phase(session, Phase.AUTH)
    _note(table, session, header, True, size_bytes, now_s)
    return session


def ike_from_server(
    table: SessionTable, flow: Flow, header: IkeHeader, *, cookie: bool, size_bytes: int, now_s: float
) -> None:
    """Take note of an IKE message on its way to the client; `cookie`: it demands a cookie.

    Only an encrypted message proves that the real server has the IKE SA: "no such SPI" is said in the clear.
    """
    session = flow.service.by_spi.get(header.spi_i) or _rekeyed(flow)
    encrypted = header.next_payload in _ENCRYPTED
    exchange = header.exchange
    if encrypted or exchange == _INIT:
        table.bind_spis(session, header.spi_i, header.spi_r)
    _note(table, session, header, False, size_bytes, now_s)
    if exchange == _AUTH:
        if header.response:
            # The last of several fragments may be tiny.
            others_bytes = session.auth_response_bytes if header.next_payload == _SKF else 0
            session.auth_response_bytes = max(size_bytes, others_bytes)
            table.look_again(session, now_s + AUTH_QUIET_S)
    elif exchange == _INIT:
        if cookie and session.phase is Phase.INIT:
            table.set_phase(session, Phase.COOKIE)
    elif exchange in (_CREATE_CHILD, _INFORMATIONAL) and encrypted and session.half_open:
        table.set_phase(session, Phase.ESTABLISHED)


def keep_init(session: Session, message: bytes) -> None:
    """Keep the latest IKE_SA_INIT request: what it says of the client is read only when somebody looks."""
    if len(message) <= INIT_BYTES_KEPT:
        session.init_message = message


def tunnel_alive(table: SessionTable, flow: Flow, *, from_server: bool) -> None:
    """Take note of ESP or a keepalive on a flow that is not settled.

    Either follows a finished IKE_AUTH only. Where no IKE message was ever seen, as after a restart, only the real
    server's word counts: anybody can send an ESP packet.
    """
    session = flow.sessions[-1]
    finished = from_server if session.anonymous else session.auth_accepted
    if session.half_open and finished:
        table.set_phase(session, Phase.ESTABLISHED)


def foreign_session(flow: Flow, header: IkeHeader) -> Session | None:
    """The session on another real server that a message on this flow belongs to, if the flow is a mere guess."""
    known = flow.service.by_spi.get(header.spi_i)
    if known and known.server is not flow.server and all(session.anonymous for session in flow.sessions):
        return known
    return None


def _rekeyed(flow: Flow) -> Session:
    """Whose SPIs these are, never seen in the clear: those of the session that last negotiated new ones."""
    return max(flow.sessions, key=lambda session: (session.rekeyed_s, session.number))


def _authenticates(session: Session, header: IkeHeader) -> bool:
    """Whether a client's message belongs to an IKE_AUTH under way, or to one that only seemed to be at its end.

    Repeated messages do not count, or they would put an established session in the place of a half-open one.
    """
    if header.exchange not in _SETTING_UP or header.response:
        return False
    if session.half_open or not session.messages:
        return session.half_open
    last = session.messages[-1]
    return last.exchange == _AUTH and header.message_id == last.message_id + 1


def _recognise(table: SessionTable, flow: Flow, session: Session) -> None:
    """A flow turns out to be another one of a known session: the nameless stand-in it began with ends."""
    stand_ins = [other for other in flow.sessions if other.anonymous]
    table.attach(session, flow)
    for stand_in in stand_ins:
        table.close(stand_in, RECOGNISED)


def _note(
    table: SessionTable, session: Session, header: IkeHeader, inward: bool, size_bytes: int, now_s: float
) -> None:
    exchange = header.exchange
    message = Message(now_s, inward, exchange, header.message_id, header.response, size_bytes)
    session.last_seen_s = now_s
    session.deleted_s = 0.0
    if exchange == _CREATE_CHILD:
        session.rekeyed_s = now_s
    elif exchange == _INFORMATIONAL and message.response and header.next_payload in _ENCRYPTED:
        rekeyed = session.rekeyed_s > 0 and now_s - session.rekeyed_s < REKEYED_SA_DELETED_S
        if not rekeyed and _ends_deletion(session, message):
            session.deleted_s = now_s
            table.look_again(session, now_s + DELETED_QUIET_S)
    session.messages.append(message)
    if len(session.messages) > MESSAGES_KEPT:
        del session.messages[0]


def _ends_deletion(session: Session, answer: Message) -> bool:
    """Whether an INFORMATIONAL answer may end the deletion of the IKE SA (RFC 7296 section 1.4.1).

    Such a request carries a Delete payload and its answer nothing; a liveness check is empty both ways, the deletion
    of a CHILD SA is answered in kind. A MOBIKE update looks alike: only the silence after it tells. What is said in the
    clear, as to a forged request, deletes nothing.
    """
    for message in reversed(session.messages):
        if message.message_id == answer.message_id and message.inward is not answer.inward:
            return message.exchange == answer.exchange and message.size_bytes > answer.size_bytes
    return False
