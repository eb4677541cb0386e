"""What passing IKE messages and ESP tell of a session: its SPIs and its phase."""

from __future__ import annotations

from engine.sessions import esp, keys
from engine.sessions.endings import RECOGNISED
from engine.sessions.flow import Flow, Port
from engine.sessions.noting import note
from engine.sessions.session import SPI_PAIRS_KEPT, Phase, Session
from engine.sessions.table import AUTH_QUIET_S, SessionTable
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import RESPONSE_FLAG, Exchange, IkeHeader
from engine.wire.payloads import PayloadType

INIT_BYTES_KEPT = 2048
SAME_FLOW = "same flow"
"""Why a session is on its real server that began on the flow of another one."""

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_INIT, _AUTH = Exchange.IKE_SA_INIT, Exchange.IKE_AUTH
_CREATE_CHILD, _INFORMATIONAL = Exchange.CREATE_CHILD_SA, Exchange.INFORMATIONAL
_BEGINNING = frozenset({Exchange.IKE_SA_INIT, Exchange.IKE_SESSION_RESUME})
_SETTING_UP = frozenset({Exchange.IKE_AUTH, Exchange.IKE_INTERMEDIATE})
_ENCRYPTED = frozenset({PayloadType.SK, PayloadType.SKF})
_SA, _SKF = PayloadType.SA, PayloadType.SKF
_NAT_T = Port.NAT_T
_BEGUN, _COOKIE = Phase.INIT, Phase.COOKIE
_AUTHENTICATING, _ESTABLISHED = Phase.AUTH, Phase.ESTABLISHED


def ike_from_client(table: SessionTable, flow: Flow, header: IkeHeader, data: memoryview, now_s: float) -> Session:
    """Take note of an IKE message on its way to the real server, `data` being the datagram; returns its session.

    Raises:
        TableFull: it begins an IKE SA for which there is no room.
    """
    session = _named(flow, header)
    if session is None:
        if header.exchange in _BEGINNING and not header.response:
            session = table.open(flow.service, flow.server, flow.client[0], SAME_FLOW, now_s, flow)
            keys.bind_spis(session, header.spi_i, 0)
            table.close_deleted(session, now_s)
        else:
            # Bound when the real server answers: anybody can make up SPIs, and new ones push known ones out.
            session = _rekeyed(flow)
    elif session.server is not flow.server:
        if not flow.service.config.port_following:
            session = _rekeyed(flow)
    elif flow not in session.flows and not flow.proven:
        recognise(table, flow, session)
    if _authenticates(flow, session, header):
        table.set_phase(session, _AUTHENTICATING)
    note(table, session, flow.port, header, data, now_s, inward=True)
    return session


def ike_from_server(table: SessionTable, flow: Flow, header: IkeHeader, data: memoryview, now_s: float) -> Session:
    """Take note of an IKE message on its way to the client, `data` being the datagram; returns its session.

    Only an encrypted message proves that the real server has the IKE SA: "no such SPI" is said in the clear.
    """
    known = _named(flow, header)
    session = known if known is not None and known.server is flow.server else _rekeyed(flow)
    encrypted = header.next_payload in _ENCRYPTED
    exchange = header.exchange
    news = encrypted and _is_news(session, header)
    if session is known or known is None:
        # In the clear anybody can have an answer come: that pushes out no SPIs.
        begun = exchange in _BEGINNING and session.half_open and len(session.spis) < SPI_PAIRS_KEPT
        if encrypted or begun:
            keys.bind_spis(session, header.spi_i, header.spi_r)
    if news and flow not in session.flows:
        recognise(table, flow, session)
    demands_cookie = note(table, session, flow.port, header, data, now_s, inward=False)
    if exchange == _AUTH:
        if header.flags & RESPONSE_FLAG:
            # The last of several fragments may be tiny.
            others_bytes = session.auth_response_bytes if header.next_payload == _SKF else 0
            session.auth_response_bytes = max(len(data), others_bytes)
            table.look_again(session, now_s + AUTH_QUIET_S)
            if encrypted and session.half_open:
                _judge_newcomer(session)
    elif exchange == _INIT:
        if demands_cookie and session.phase is _BEGUN:
            table.set_phase(session, _COOKIE)
        elif header.next_payload == _SA:
            _keep_greeting(session, flow, data)
    elif exchange in (_CREATE_CHILD, _INFORMATIONAL) and encrypted and session.half_open:
        table.set_phase(session, _ESTABLISHED)
    if news:
        table.prove(session, flow, now_s)
    return session


def _judge_newcomer(session: Session) -> None:
    """Whom a real server accepts is no flood, however long the rest takes; to be refused costs nobody anything."""
    newcomers = session.service.newcomers
    if session.auth_accepted:
        newcomers.leave(session.number)
    else:
        newcomers.enter(session.number, session.host)


def keep_init(session: Session, message: bytes) -> None:
    """Keep the latest IKE_SA_INIT request: what it says of the client is read only when somebody looks.

    Not once the session is set up: what comes then under the client's address may be anybody's.
    """
    if not session.half_open:
        return
    session.service.newcomers.enter(session.number, session.host)
    if len(message) <= INIT_BYTES_KEPT:
        session.init_message = message
        session.vendor = None


def _keep_greeting(session: Session, flow: Flow, answer: memoryview) -> None:
    """Keep an IKE_SA_INIT that a real server accepted: what it says of the server is read only when somebody looks."""
    if session.init_message and len(answer) <= INIT_BYTES_KEPT:
        message = bytes(answer[len(NON_ESP_MARKER) :] if flow.port is _NAT_T else answer)
        flow.server.greetings.append((session.init_message, message))


def tunnel_alive(table: SessionTable, flow: Flow, word: int, now_s: float, *, from_server: bool) -> None:
    """Take note of a keepalive, or of ESP by its first word, that is not yet known on a flow.

    Either follows a finished IKE_AUTH only. Where no IKE message was ever seen, as after a restart, only the real
    server's word counts: anybody can send an ESP packet.
    """
    if not flow.settled:
        session = flow.sessions[-1]
        if from_server and not flow.proven and flow.owner is not None:
            table.prove(flow.owner, flow, now_s)
        finished = from_server if session.anonymous else session.auth_accepted
        if session.half_open and finished:
            table.set_phase(session, _ESTABLISHED)
    if word and word not in (flow.esp_out if from_server else flow.esp_in):
        if from_server:
            esp.learn_outward(flow, word)
        else:
            esp.learn_inward(flow, word, now_s)
        if flow.owner is not None:
            table.mark(flow.owner)


def yields(table: SessionTable, flow: Flow, now_s: float) -> bool:
    """Whether a flow is given up once a datagram on it turns out to be of a session on another real server.

    It is when it was a guess, or somebody only claimed to be a known session's client there; and when its own real
    server has been silent for long, while a NAT gave the address and port to another client. It need not be for long
    where that server has found its clients elsewhere since.
    """
    if not flow.why and any(session.half_open and not session.anonymous for session in flow.sessions):
        return False
    table.refresh(flow.sessions[0], now_s)
    half_open_s = flow.service.config.timeouts.half_open_s
    patience_s = min(esp.TALKING_S, half_open_s) if flow.is_left else half_open_s
    return not flow.proven or now_s - flow.last_out_s > patience_s


def _named(flow: Flow, header: IkeHeader) -> Session | None:
    """The session that an IKE message belongs to by its SPIs, as far as they tell."""
    pair = header.spi_i, header.spi_r
    for session in flow.sessions:
        if pair in session.spis:
            return session
    named = flow.service.named_by(header, flow.client[0]) if header.spi_r else None
    if named is not None:
        return named
    for session in flow.sessions:
        for spi_i, _ in session.spis:
            if spi_i == header.spi_i:
                return session
    return None if header.spi_r else flow.service.named_by(header, flow.client[0])


def _is_news(session: Session, header: IkeHeader) -> bool:
    """Whether an encrypted message shows that its real server and the client talk at this moment.

    A request that is sent again from elsewhere, by whoever overheard it, draws the answer that it drew before.
    """
    if not header.flags & RESPONSE_FLAG:
        return True
    answer = header.spi_i, header.spi_r, header.message_id
    before = session.answered
    if before is not None and before[:2] == answer[:2] and before[2] >= answer[2]:
        return False
    session.answered = answer
    return True


def _rekeyed(flow: Flow) -> Session:
    """Whose SPIs these are, never seen in the clear: those of the session that last negotiated new ones."""
    return max(flow.sessions, key=lambda session: (session.rekeyed_s, session.number))


def _authenticates(flow: Flow, session: Session, header: IkeHeader) -> bool:
    """Whether a client's message belongs to an IKE_AUTH under way, or to one that only seemed to be at its end.

    Repeated messages do not count, nor any once the real server has sent ESP: forged ones would put an established
    session in the place of a half-open one, which gives way to others.
    """
    if header.exchange not in _SETTING_UP or header.flags & RESPONSE_FLAG:
        return False
    if session.half_open or not session.packed_messages:
        return session.half_open
    last = session.messages[-1]
    answered = last.exchange == _AUTH and not last.inward
    return flow.proven and not session.esp_out and answered and header.message_id == last.message_id + 1


def recognise(table: SessionTable, flow: Flow, session: Session) -> None:
    """A flow turns out to be another one of a known session: the nameless stand-ins it began with end."""
    stand_ins = [other for other in flow.sessions if other.anonymous]
    table.attach(session, flow)
    for stand_in in stand_ins:
        esp.inherit(session, stand_in)
        table.close(stand_in, RECOGNISED)
