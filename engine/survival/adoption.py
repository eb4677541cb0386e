"""Takes up the sessions of the engine before: those whose service and real server still are what they were.

The time in which no engine was there is nobody's silence: clients may have spoken all the while. So a flow that was
alive goes on unless that took longer than its idle timeout, and is given a little time to be heard of. It is the same
after a reboot: the tunnels' ends know nothing of it, and only the saved SPIs lead clients back to their servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engine.sessions import esp
from engine.sessions.fast_path import Forwarded
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.persistence import client_network
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import HALF_OPEN, Phase, Session
from engine.sessions.table import SessionTable, TableFull
from engine.survival.journal import Kept
from engine.survival.moment import Moment
from engine.survival.records import (
    KeptAddress,
    KeptFlow,
    KeptSession,
    place_of_server,
    place_of_service,
    restored_address,
)

HEARD_WITHIN_S = 60.0
"""Three intervals of the keepalives that a living tunnel sends."""
IN_KERNEL = "its tunnel was in the kernel when the engine started"
AT_ONCE = 500

FlowKey = tuple[str, Port, SocketAddress]
"""Service, port and client."""


@dataclass(slots=True)
class Adopted:
    """What became of the sessions that there were."""

    gap_s: float = 0.0
    """How long no engine was there."""
    sessions: int = 0
    records: int = 0
    """Persistence records, pins among them."""
    flows: list[Flow] = field(default_factory=list)
    forwarded: list[tuple[Flow, Forwarded]] = field(default_factory=list)
    """Those of the flows that the kernel has."""
    strays: list[Forwarded] = field(default_factory=list)
    """What else the kernel has: of services and real servers that are gone."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Sessions that do not go on, by reason."""


class Adoption:
    """One engine's taking up of another's sessions, before datagrams are forwarded."""

    def __init__(
        self,
        kept: Kept,
        table: SessionTable,
        services: Mapping[str, Service],
        now: Moment,
        forwarded: Iterable[Forwarded] = (),
    ) -> None:
        self.adopted = Adopted()
        self._kept = kept
        self._table = table
        self._services = services
        self._now_s = now.engine_s
        self._shift_s = 0.0
        """What the clock of the engine before is behind this one's."""
        if kept.moment is not None:
            self.adopted.gap_s = kept.moment.until_s(now)
            self._shift_s = now.engine_s - self.adopted.gap_s - kept.moment.engine_s
        self._flows: dict[FlowKey, tuple[Flow, bool]] = {}
        """With whether each kept a persistence record alive."""
        self._forwarded: dict[FlowKey, Forwarded] = {}
        ends = {(s.address, s.config.nat_t_port): s.name for s in services.values()}
        for found in forwarded:
            name = ends.get(found.service[:2])
            if name is None:
                self.adopted.strays.append(found)
            else:
                self._forwarded[name, Port.NAT_T, found.client] = found

    def run(self) -> Iterator[None]:
        """Take up records, sessions and flows, some of them each turn."""
        self._take_records()
        yield
        for turn, number in enumerate(sorted(self._kept.sessions)):
            try:
                self._take_session(self._kept.sessions[number])
            except ValueError:
                self.adopted.left_out["its record makes no sense"] += 1
            if turn % AT_ONCE == 0:
                yield
        for turn, key in enumerate(self._forwarded.keys() - self._flows.keys()):
            self._take_unknown(key, self._forwarded[key])
            if turn % AT_ONCE == 0:
                yield
        for turn, (flow, remembered) in enumerate(self._flows.values()):
            self._take_flow(flow, remembered)
            if turn % AT_ONCE == 0:
                yield

    def _take_records(self) -> None:
        for record in sorted(self._kept.records.values(), key=lambda record: record.last_used_s):
            service = self._services.get(record.service)
            server = service.servers.get(record.server) if service is not None else None
            if service is None or server is None:
                continue
            last_used_s = record.last_used_s + self._shift_s
            if record.pinned:
                service.persistence.pin(record.client, server, last_used_s)
            elif server.keeps_sessions:
                service.persistence.remember(record.client, server, last_used_s)
            else:
                continue
            self.adopted.records += 1

    def _take_session(self, kept: KeptSession) -> None:
        found = self._whose(kept)
        if isinstance(found, str):
            self.adopted.left_out[found] += 1
            return
        service, server = found
        for flow in kept.flows:
            _require_addresses(flow, service)
        session = self._restored(kept, service, server)
        alive = [flow for flow in kept.flows if self._is_alive(flow, service)]
        # What was saved may be older than its tunnel, of which the kernel has seen ESP.
        is_up = session.half_open and any(self._has_carried(flow, session) for flow in alive)
        if not session.half_open:
            session.phase = session.phase if alive else Phase.IDLE
        elif not alive or (self.adopted.gap_s > service.config.timeouts.half_open_s and not is_up):
            self.adopted.left_out["never set up"] += 1
            return
        timeouts = service.config.timeouts
        if not alive and session.last_seen_s + timeouts.spi_binding_s <= self._now_s:
            self.adopted.left_out["silent for too long"] += 1
            return
        try:
            self._table.readmit(session)
        except TableFull:
            self.adopted.left_out["no room: engine.max_sessions is lower now"] += 1
            return
        if is_up:
            self._table.set_phase(session, Phase.ESTABLISHED)
        self.adopted.sessions += 1
        if alive:
            server.health.trust()
        for flow in alive:
            self._join(session, flow)

    def _whose(self, kept: KeptSession) -> tuple[Service, RealServer] | str:
        """A session's service and real server, or why they are no more."""
        service = self._services.get(kept.service.name)
        if service is None or place_of_service(service) != kept.service:
            return f"service {kept.service.name} is gone or has another address"
        server = service.servers.get(kept.server.name)
        if server is None or place_of_server(server) != kept.server:
            return f"{kept.service.name}/{kept.server.name} is gone or has another address"
        if not server.keeps_sessions:
            return f"{kept.service.name}/{kept.server.name} is disabled"
        return service, server

    def _is_alive(self, kept: KeptFlow, service: Service) -> bool:
        timeouts = service.config.timeouts
        if kept.port == Port.IKE:
            return self.adopted.gap_s < timeouts.ike_idle_s
        found = self._in_kernel(kept, service)
        silent_s = self.adopted.gap_s if found is None else min(found.client_silent_s, found.server_silent_s)
        return silent_s < timeouts.nat_t_idle_s

    def _in_kernel(self, kept: KeptFlow, service: Service) -> Forwarded | None:
        return self._forwarded.get((service.name, Port(kept.port), _address(kept.client, service)))

    def _has_carried(self, kept: KeptFlow, session: Session) -> bool:
        """Whether ESP of a flow has passed in the kernel, to or from the session's real server."""
        found = self._in_kernel(kept, session.service)
        if found is None or session.service.server_at(found.server) != (session.server, Port.NAT_T):
            return False
        return bool(found.esp_in or found.esp_out)

    def _take_unknown(self, key: FlowKey, found: Forwarded) -> None:
        """Make a flow of what only the kernel knows: of a known session that has its SPI, or of one without a name."""
        service = self._services[key[0]]
        at = service.server_at(found.server)
        silent_s = min(found.client_silent_s, found.server_silent_s)
        silent = silent_s >= service.config.timeouts.nat_t_idle_s
        if silent or at is None or at[1] is not Port.NAT_T or not at[0].keeps_sessions:
            self.adopted.strays.append(found)
            return
        server, host = at[0], found.client[0]
        session = service.tunnel_of(esp.spi_of(found.esp_in)) if found.esp_in else None
        if session is None or session.server is not server:
            try:
                session = self._table.open(service, server, host, IN_KERNEL, self._now_s)
            except TableFull:
                self.adopted.strays.append(found)
                return
            session.place = found.client
            self.adopted.sessions += 1
            server.health.trust()
        if session.phase is not Phase.ESTABLISHED:
            self._table.set_phase(session, Phase.ESTABLISHED)
        flow = Flow(service, Port.NAT_T, found.client, server, self._now_s)
        flow.sessions = (session,)
        self._follow_kernel(flow, found)
        self._flows[key] = flow, False

    def _follow_kernel(self, flow: Flow, found: Forwarded) -> None:
        """Have a flow be as the kernel has it."""
        flow.proven = True
        flow.source = found.source
        flow.last_in_s = self._now_s - found.client_silent_s
        flow.last_out_s = self._now_s - found.server_silent_s

    def _restored(self, kept: KeptSession, service: Service, server: RealServer) -> Session:
        shift_s = self._shift_s
        session = Session(kept.number, service, server, kept.host, kept.decided, kept.created_s + shift_s)
        session.why = kept.why
        session.phase = kept.phase
        session.half_open = kept.phase in HALF_OPEN
        session.was_established = kept.was_established
        session.spis = kept.spis
        session.esp_in, session.esp_out = kept.esp_in, kept.esp_out
        session.answered = kept.answered
        session.place = None if kept.place is None else _address(kept.place, service)
        session.source_address = kept.source_address if _may_be_source(service, kept.source_address) else ""
        if kept.left_source is not None:
            session.left_source = _source(kept.left_source, service)
        heard = max((flow.last_in_s for flow in kept.flows), default=kept.last_seen_s)
        session.last_seen_s = max(kept.last_seen_s, heard) + shift_s
        session.init_s = _shifted(kept.init_s, shift_s)
        session.auth_answered_s = _shifted(kept.auth_answered_s, shift_s)
        session.rekeyed_s = kept.rekeyed_s + shift_s if kept.rekeyed_s else 0.0
        session.deleted_s = kept.deleted_s + shift_s if kept.deleted_s else 0.0
        session.auth_response_bytes = kept.auth_response_bytes
        session.server_fragments = kept.server_fragments
        session.vendor = kept.vendor
        session.retransmitted_in, session.retransmitted_out = kept.retransmitted
        (
            session.ended_packets_in,
            session.ended_bytes_in,
            session.ended_packets_out,
            session.ended_bytes_out,
        ) = kept.traffic
        if kept.latest is not None:
            session.packed_messages = kept.latest.restored(shift_s)
        if kept.complaint is not None:
            session.complaint = kept.complaint.restored(shift_s)
        if session.half_open:
            # Who waits for an answer asks again and again; the engine was not there to hear it.
            session.last_seen_s = self._now_s
        return session

    def _join(self, session: Session, kept: KeptFlow) -> None:
        """Have a flow carry a session; several may share one."""
        service, server = session.service, session.server
        client = _address(kept.client, service)
        key = service.name, kept.port, client
        if found := self._flows.get(key):
            flow, remembered = found
            if flow.server is server and session not in flow.sessions:
                flow.sessions += (session,)
                self._flows[key] = flow, remembered or kept.remembered
            return
        flow = Flow(service, Port(kept.port), client, server, kept.created_s + self._shift_s)
        flow.sessions = (session,)
        flow.why, flow.proven = kept.why, kept.proven
        flow.esp_in, flow.esp_out = kept.esp_in, kept.esp_out
        flow.packets_in, flow.bytes_in, flow.packets_out, flow.bytes_out = kept.traffic
        due_s = self._now_s + min(HEARD_WITHIN_S, flow.idle_timeout_s)
        flow.last_in_s = max(kept.last_in_s + self._shift_s, due_s - flow.idle_timeout_s)
        flow.last_out_s = kept.last_out_s + self._shift_s if kept.last_out_s else 0.0
        if not service.is_snat:
            flow.source = flow.client
        elif kept.source is not None and kept.source != kept.client:
            flow.source = _source(kept.source, service)
        if (known := self._forwarded.get(key)) and service.server_at(known.server) == (server, Port.NAT_T):
            self._follow_kernel(flow, known)
        self._flows[key] = flow, kept.remembered

    def _take_flow(self, flow: Flow, remembered: bool) -> None:
        service = flow.service
        record = None
        if remembered:
            record = service.persistence.find(client_network(flow.client[0], service.config.persistence_prefix))
        self._table.readmit_flow(flow, record)
        self.adopted.flows.append(flow)
        if known := self._forwarded.get((service.name, flow.port, flow.client)):
            self.adopted.forwarded.append((flow, known))


def _address(kept: KeptAddress, service: Service) -> SocketAddress:
    """A client's address, or one that stands for it, as it can be at a service; raises ValueError."""
    return restored_address(kept, service.config.address.version)


def _require_addresses(kept: KeptFlow, service: Service) -> None:
    """Raise ValueError unless a flow can be what its record says, before anything is made of it."""
    _address(kept.client, service)
    if kept.source is not None:
        _address(kept.source, service)


def _source(kept: KeptAddress, service: Service) -> SocketAddress | None:
    """What stood for a client, if it may go on to; raises ValueError."""
    source = _address(kept, service)
    return source if _may_be_source(service, source[0]) else None


def _may_be_source(service: Service, address: str) -> bool:
    """Whether an address may stand for clients of a service; without a pool the route chooses it."""
    return service.is_snat and (not service.snat_pool or address in service.snat_pool)


def _shifted(at_s: float | None, shift_s: float) -> float | None:
    return None if at_s is None else at_s + shift_s
