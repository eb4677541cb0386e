"""What is saved of sessions, flows and persistence records.

Fields that are added later come last and have defaults: so each version reads the files of those before, and they read
its files without what they do not know. Where that cannot be, `engine.survival.journal.FORMAT` is counted up.
"""

from __future__ import annotations

import socket
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.persistence import PersistenceRecord
from engine.sessions.query import vendor_of
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import PACKED_MESSAGE, Phase, Session
from engine.sessions.trouble import Complaint
from engine.survival.moment import Instant, Moment
from engine.wire.notifies import Notify

KeptAddress: TypeAlias = tuple[str | int, ...]
"""A socket address: host, port and, for IPv6, flow label and scope."""

KEPT_DATA_BYTES: Final = 16
"""Of what a peer put beside its error."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Octet: TypeAlias = Annotated[int, Meta(ge=0, lt=2**8)]
Word: TypeAlias = Annotated[int, Meta(ge=0, lt=2**32)]
Spi: TypeAlias = Annotated[int, Meta(ge=0)]
"""Eight bytes: more than that the format has no numbers for."""

Traffic: TypeAlias = tuple[Count, Count, Count, Count]
"""Packets and bytes in, packets and bytes out."""


class Place(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A service or a real server: of the same name but at another place it is another one."""

    name: str
    address: str
    ports: tuple[int, int]


class KeptFlow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A flow; `remembered`: it keeps its client's persistence record alive."""

    port: Port
    client: KeptAddress
    source: KeptAddress | None
    why: str
    proven: bool
    remembered: bool
    created_s: Instant
    last_in_s: Instant
    last_out_s: Instant
    traffic: Traffic
    esp_in: tuple[Word, ...]
    esp_out: tuple[Word, ...]


class KeptMessage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The latest IKE message of a session: what is concluded from silence depends on who had the last word."""

    at_s: Instant
    inward: bool
    exchange: Octet
    message_id: Word
    response: bool
    size_bytes: Word

    def restored(self, shift_s: float) -> bytes:
        """As sessions have it."""
        return PACKED_MESSAGE.pack(
            self.at_s + shift_s, self.inward, self.exchange, self.message_id, self.response, self.size_bytes, False
        )


class KeptComplaint(msgspec.Struct, frozen=True, array_like=True):
    """The latest error of a session that was told in the clear."""

    at_s: Instant
    inward: bool
    exchange: int
    type: Word
    data: bytes

    def restored(self, shift_s: float) -> Complaint:
        """As sessions have it."""
        return Complaint(self.at_s + shift_s, self.inward, self.exchange, Notify(self.type, data=self.data))


class KeptSession(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="s"):
    """A session, with all flows that carry it."""

    number: Count
    service: Place
    server: Place
    host: str
    decided: str
    why: str
    phase: Phase
    was_established: bool
    spis: tuple[tuple[Spi, Spi], ...]
    esp_in: tuple[Word, ...]
    esp_out: tuple[Word, ...]
    answered: tuple[Spi, Spi, Word] | None
    place: KeptAddress | None
    source_address: str
    created_s: Instant
    last_seen_s: Instant
    init_s: Instant | None
    auth_answered_s: Instant | None
    rekeyed_s: Instant
    deleted_s: Instant
    auth_response_bytes: Count
    server_fragments: bool
    vendor: str | None
    retransmitted: tuple[Count, Count]
    traffic: Traffic
    """What passed on flows that have ended."""
    latest: KeptMessage | None
    flows: list[KeptFlow]
    complaint: KeptComplaint | None = None
    left_source: KeptAddress | None = None


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """A session is no more."""

    number: Count


class KeptRecord(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="p"):
    """A persistence record, or a pin."""

    service: str
    client: str
    server: str
    last_used_s: Instant
    pinned: bool


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """A persistence record is no more."""

    service: str
    client: str


Record: TypeAlias = Moment | KeptSession | Ended | KeptRecord | Forgotten


def kept_session(session: Session) -> KeptSession:
    """What is saved of a session."""
    # In the order of the fields: named ones would take six times as long.
    return KeptSession(
        session.number,
        place_of_service(session.service),
        place_of_server(session.server),
        session.host,
        session.decided,
        session.why,
        session.phase,
        session.was_established,
        session.spis,
        session.esp_in,
        session.esp_out,
        session.answered,
        session.place,
        session.source_address,
        session.created_s,
        session.last_seen_s,
        session.init_s,
        session.auth_answered_s,
        session.rekeyed_s,
        session.deleted_s,
        session.auth_response_bytes,
        session.server_fragments,
        session.vendor if session.half_open else vendor_of(session),
        (session.retransmitted_in, session.retransmitted_out),
        (
            session.ended_packets_in,
            session.ended_bytes_in,
            session.ended_packets_out,
            session.ended_bytes_out,
        ),
        _kept_message(session.packed_messages) if session.packed_messages else None,
        [_kept_flow(flow) for flow in session.flows],
        None if session.complaint is None else _kept_complaint(session.complaint),
        session.left_source,
    )


def kept_record(service: Service, record: PersistenceRecord) -> KeptRecord:
    """What is saved of a persistence record."""
    return KeptRecord(service.name, record.client, record.server.name, record.last_used_s, record.pinned)


def place_of_service(service: Service) -> Place:
    """Where a service is."""
    config = service.config
    return Place(config.name, service.address, (config.ike_port, config.nat_t_port))


def place_of_server(server: RealServer) -> Place:
    """Where a real server is."""
    return Place(server.name, server.address, server.ports)


def restored_address(kept: KeptAddress, version: int) -> SocketAddress:
    """A socket address of an IP version as the kernel reports it; raises ValueError."""
    match kept:
        case (str(host), int(port)) if version == 4 and _is_address(socket.AF_INET, host, port):
            return host, port
        case (str(host), int(port)) if version == 6 and _is_address(socket.AF_INET6, host, port):
            return host, port
        case (str(host), int(port), int(label), int(scope)) if (
            version == 6 and _is_address(socket.AF_INET6, host.partition("%")[0], port) and 0 <= scope < 2**32
        ):
            return host, port, label, scope
        case _:
            raise ValueError(f"not a socket address of IPv{version}: {kept}")


def _is_address(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return 0 <= port <= 0xFFFF


def _kept_message(packed: bytes) -> KeptMessage:
    return KeptMessage(*PACKED_MESSAGE.unpack_from(packed, len(packed) - PACKED_MESSAGE.size)[:-1])


def _kept_complaint(said: Complaint) -> KeptComplaint:
    # A few bytes mean something, and a peer can put as many there as a datagram holds.
    return KeptComplaint(said.at_s, said.inward, said.exchange, said.notify.type, said.notify.data[:KEPT_DATA_BYTES])


def _kept_flow(flow: Flow) -> KeptFlow:
    return KeptFlow(
        flow.port,
        flow.client,
        flow.source,
        flow.why,
        flow.proven,
        flow.persistence is not None,
        flow.created_s,
        flow.last_in_s,
        flow.last_out_s,
        (flow.packets_in, flow.bytes_in, flow.packets_out, flow.bytes_out),
        flow.esp_in,
        flow.esp_out,
    )
