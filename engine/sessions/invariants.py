"""What should never happen to a client's traffic: noted where it is seen, counted for each service."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from engine.sessions.session import Phase
from engine.wire.header import Exchange, IkeHeader
from engine.wire.notifies import announces_fragmentation

if TYPE_CHECKING:
    from engine.sessions.flow import Flow, Port, SocketAddress
    from engine.sessions.real_server import RealServer
    from engine.sessions.session import Session

LARGEST_WHOLE_V4_BYTES = 1472
LARGEST_WHOLE_V6_BYTES = 1452
"""What a UDP datagram carries across an Ethernet of 1500 bytes without IP fragmentation; hardly a client has more."""
NO_REPLIES = "no-replies"
"""Counted when a client that asked more than once has given up; the alarm does not wait for that."""
CAME_BACK_S = 60.0
"""A client that is back so soon after its flow was forgotten had not gone: it is only silent for longer."""

EXPELLED_S = 300.0
"""A client whose session the engine ended needs no longer to notice that its tunnel is dead."""
EXPELLED_KEPT = 50_000

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_INIT, _AUTH = Exchange.IKE_SA_INIT, Exchange.IKE_AUTH
_IDLE = Phase.IDLE


@dataclass(frozen=True, slots=True)
class PortsSplit:
    """The two ports of one IKE SA reached different real servers."""

    kind: ClassVar[str] = "ports-split"
    host: str
    ike_server: str
    nat_t_server: str


@dataclass(frozen=True, slots=True)
class SpiSplit:
    """Messages of one IKE SA reached a real server that does not have it."""

    kind: ClassVar[str] = "spi-split"
    host: str
    spi_i: int
    server: str
    other_server: str
    """Where the message went."""


@dataclass(frozen=True, slots=True)
class EspFirst:
    """A flow began with ESP of a tunnel that nothing is known of."""

    kind: ClassVar[str] = "esp-before-ike"
    host: str
    server: str
    """A guess."""


@dataclass(frozen=True, slots=True)
class FragmentedAuth:
    """An IKE_AUTH message was so big that IP had to fragment it."""

    kind: ClassVar[str] = "auth-fragmented"
    host: str
    server: str
    size_bytes: int
    inward: bool
    client_offers: bool | None
    """Whether the client announced IKE fragmentation (RFC 7383); None: its IKE_SA_INIT was not seen."""
    server_agrees: bool
    """Whether the real server did so, which it only does when the client has."""


@dataclass(frozen=True, slots=True)
class IdleTooShort:
    """A flow was forgotten though its client was only silent for a while."""

    kind: ClassVar[str] = "idle-too-short"
    host: str
    server: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class StrangeReply:
    """A client that waits for its real server is sent something by another address."""

    kind: ClassVar[str] = "strange-replies"
    host: str
    server: str
    source: str


Violation: TypeAlias = PortsSplit | SpiSplit | EspFirst | FragmentedAuth | IdleTooShort | StrangeReply


class Violations:
    """How often each invariant of a service was violated, and the latest case of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latest: dict[str, Violation] = {}
        self._expelled: OrderedDict[str, float] = OrderedDict()

    def expel(self, host: str, now_s: float) -> None:
        """The engine ends a session of a client, whose ESP goes on until it notices: that violates nothing."""
        self._expelled[host] = now_s
        self._expelled.move_to_end(host)
        if len(self._expelled) > EXPELLED_KEPT:
            self._expelled.popitem(last=False)

    def was_expelled(self, host: str, now_s: float) -> bool:
        """Whether the engine ended a session of a client not long ago."""
        while self._expelled and next(iter(self._expelled.values())) < now_s - EXPELLED_S:
            self._expelled.popitem(last=False)
        return host in self._expelled

    def note(self, violation: Violation) -> None:
        """One more."""
        self.counts[violation.kind] += 1
        self.latest[violation.kind] = violation


def session_begins(session: Session, port: Port, header: IkeHeader | None) -> None:
    """Look at a session that was begun for a client's datagram; `header` is None for ESP. Call before it has SPIs."""
    service = session.service
    if header is None:
        if not service.violations.was_expelled(session.host, session.created_s):
            service.violations.note(EspFirst(session.host, session.server.name))
    elif (known := service.named_by(header, session.host)) and _strays(known, session.server):
        _note_split(known, session.server.name, session.host, port, header.spi_i)


def request_passes(session: Session, flow: Flow, header: IkeHeader, size_bytes: int) -> None:
    """Look at a client's IKE message on its way to the flow's real server."""
    if _strays(session, flow.server):
        _note_split(session, flow.server.name, flow.client[0], flow.port, header.spi_i)
    if header.exchange == _AUTH and size_bytes > LARGEST_WHOLE_V6_BYTES:
        _note_size(session, flow, size_bytes, inward=True)


def answer_passes(session: Session, flow: Flow, header: IkeHeader, data: memoryview) -> None:
    """Look at a real server's IKE message on its way to the flow's client."""
    exchange = header.exchange
    if exchange == _INIT:
        if session.half_open:
            session.server_fragments = announces_fragmentation(bytes(data))
    elif exchange == _AUTH and len(data) > LARGEST_WHOLE_V6_BYTES:
        _note_size(session, flow, len(data), inward=False)


def session_wakes(session: Session, client: SocketAddress, now_s: float) -> None:
    """Look at a session that slept and gets a flow again."""
    back_s = session.server.health.up_since_s
    if back_s is not None and back_s > session.last_seen_s:
        return  # its real server was away, and not its client silent
    silent_s = now_s - session.last_seen_s
    forgotten_after_s = session.service.config.timeouts.nat_t_idle_s
    if client[0] == session.host and forgotten_after_s <= silent_s <= forgotten_after_s + CAME_BACK_S:
        session.service.violations.note(IdleTooShort(session.host, session.server.name, silent_s))


def session_fails(session: Session) -> None:
    """Look at a session that ends before it was set up."""
    messages = session.messages
    if len(messages) > 1 and all(message.inward for message in messages):
        session.service.violations.counts[NO_REPLIES] += 1


def reply_from_elsewhere(session: Session, source: str) -> None:
    """Look at a datagram that the address `source` sent to the session's client, past the balancer's own ways."""
    if session.half_open and any(flow.packets_in and not flow.packets_out for flow in session.flows):
        session.service.violations.note(StrangeReply(session.host, session.server.name, source))


def _strays(session: Session, server: RealServer) -> bool:
    """Whether a message of a session has no reason to go to a real server: its own one could have it.

    Of one that sleeps it is the last word of a client that has another tunnel there.
    """
    return session.server is not server and session.server.keeps_sessions and session.phase is not _IDLE


def _note_split(known: Session, other_server: str, host: str, port: Port, spi_i: int) -> None:
    """Note that a message of a known session from a client address, to one of the ports, goes to another server."""
    violations, server = known.service.violations, known.server.name
    if any(flow.client[0] == host and flow.port is not port for flow in known.flows):
        ike_server, nat_t_server = (other_server, server) if port == 0 else (server, other_server)
        violations.note(PortsSplit(host, ike_server, nat_t_server))
    else:
        violations.note(SpiSplit(host, spi_i, server, other_server))


def _note_size(session: Session, flow: Flow, size_bytes: int, *, inward: bool) -> None:
    host = flow.client[0]
    if ":" not in host and size_bytes <= LARGEST_WHOLE_V4_BYTES:
        return
    session.service.violations.note(
        FragmentedAuth(
            host,
            flow.server.name,
            size_bytes,
            inward,
            client_offers=announces_fragmentation(session.init_message) if session.init_message else None,
            server_agrees=session.server_fragments,
        )
    )
