"""The session table: the one place where sessions, flows and their keys are made and unmade."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count, islice
from typing import Protocol

from engine.config.schema import PersistenceKind
from engine.sessions.endings import CROWDED, EVICTED, how_it_ended
from engine.sessions.expiry import ExpiryQueue
from engine.sessions.fast_path import FastPath, NoFastPath
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.persistence import PersistenceRecord, client_network
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import HALF_OPEN, SPI_PAIRS_KEPT, Phase, Session

AUTH_QUIET_S = 2.0
DELETED_QUIET_S = 30.0
"""One and a half intervals of the keepalives that a living tunnel sends."""
FLOWS_PER_SESSION = 8
HALF_OPEN_PER_FLOW = 8
ENDINGS_KEPT = 10_000

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_NAT_T = Port.NAT_T
_ESTABLISHED, _MOVED, _IDLE, _CLOSED = Phase.ESTABLISHED, Phase.MOVED, Phase.IDLE, Phase.CLOSED
_SOURCE_ADDRESS = PersistenceKind.SOURCE_ADDRESS


class TableFull(Exception):
    """No room for a new session, and no half-open one to give way."""


class Witness(Protocol):
    """Whoever is told what becomes of sessions."""

    def established(self, session: Session) -> None:
        """A session was set up, for the first time."""
        ...

    def moved(self, session: Session, before: Flow) -> None:
        """The client of an established session goes on from elsewhere; it used this flow before."""
        ...

    def ended(self, session: Session, reason: str) -> None:
        """A session ends; it still is as it was."""
        ...


class SessionTable:
    """All sessions of the engine: bounded.

    When full, the oldest half-open one gives way, else the one that has slept for longest; an established one never.
    """

    def __init__(
        self, max_sessions: int, release: Callable[[Flow], None], witness: Witness, fast_path: FastPath | None = None
    ) -> None:
        self.max_sessions = max_sessions
        self.sessions: dict[int, Session] = {}
        self.half_open: OrderedDict[int, Session] = OrderedDict()
        self.asleep: OrderedDict[int, Session] = OrderedDict()
        self.flow_count = 0
        self.evicted = 0
        self.ended = 0
        self._latest_ended: deque[int] = deque(maxlen=ENDINGS_KEPT)
        self._release = release
        self._witness = witness
        self._fast_path: FastPath = fast_path or NoFastPath()
        self._expiry = ExpiryQueue()
        # One of each for all: a bound method for every flow and session would take as much memory as a message does.
        self._flow_due, self._session_due = self._check_flow, self._check_session
        self._numbers = count(1)

    def open(
        self, service: Service, server: RealServer, host: str, why: str, now_s: float, flow: Flow | None = None
    ) -> Session:
        """Begin a session; on `flow`, if it is to share one with others.

        Raises:
            TableFull: every session is established.
        """
        if len(self.sessions) >= self.max_sessions and not self.half_open and not self.asleep:
            raise TableFull
        session = Session(next(self._numbers), service, server, host, why, now_s)
        self.sessions[session.number] = session
        self.half_open[session.number] = session
        server.half_open += 1
        service.by_host.setdefault(host, []).append(session)
        service.new_sessions += 1
        server.new_sessions += 1
        self.look_again(session, now_s + service.config.timeouts.half_open_s)
        if flow is not None:
            self.attach(session, flow)
        # Last: a flow whose only session gives way to this one lives on with this one.
        if len(self.sessions) > self.max_sessions:
            others = self.half_open if len(self.half_open) > 1 else self.asleep or self.half_open
            self._evict(next(iter(others.values())), EVICTED)
        return session

    def add_flow(self, session: Session, port: Port, client: SocketAddress, now_s: float) -> Flow:
        """Begin a flow of a session; its longest unused one gives way when it has very many."""
        service = session.service
        if len(session.flows) >= FLOWS_PER_SESSION:
            self.drop_flow(min(session.flows, key=lambda flow: flow.last_seen_s))
        flow = Flow(service, port, client, session.server, now_s)
        service.flows[port][client] = flow
        self.flow_count += 1
        self.attach(session, flow)
        if service.config.persistence is _SOURCE_ADDRESS:
            flow.persistence = self.remember(service, client[0], session.server, now_s)
            service.persistence.take(flow.persistence)
        self._expiry.push(now_s + flow.idle_timeout_s, flow, self._flow_due)
        return flow

    def attach(self, session: Session, flow: Flow) -> None:
        """Let a flow carry one more session.

        Of very many half-open ones the first gives way: anybody can begin them, and each slows every later message.
        """
        before = None if session.half_open else _latest_nat_t(session, flow)
        flow.sessions.append(session)
        session.flows.append(flow)
        if session.phase is _IDLE:
            self.set_phase(session, _ESTABLISHED)
        elif before is not None:
            self.set_phase(session, Phase.MOVED)
            self._witness.moved(session, before)
        self._settle(flow)
        if flow.source is not None and flow.service.is_snat and not session.source_address:
            self.use_source(session, flow.source[0])
        if len(flow.sessions) > HALF_OPEN_PER_FLOW:
            half_open = [other for other in flow.sessions if other.half_open]
            if len(half_open) > HALF_OPEN_PER_FLOW:
                self._evict(half_open[0], CROWDED)

    def bind_spis(self, session: Session, spi_i: int, spi_r: int) -> None:
        """Make a session known by an SPI pair; the responder's SPI may come later."""
        for position, (known_i, known_r) in enumerate(session.spis):
            if known_i == spi_i:
                if spi_r and not known_r:
                    session.spis[position] = (spi_i, spi_r)
                return
        if len(session.spis) >= SPI_PAIRS_KEPT:
            self._unbind(session, session.spis.pop(0)[0])
        session.spis.append((spi_i, spi_r))
        session.service.by_spi[spi_i] = session

    def set_phase(self, session: Session, phase: Phase) -> None:
        """Move a session to a phase; loads and the close look at its flows follow."""
        if session.phase is phase:
            return
        if session.half_open and phase in HALF_OPEN:
            session.phase = phase
            self.half_open.move_to_end(session.number)
            return
        self._count(session, -1)
        session.phase = phase
        session.half_open = phase in HALF_OPEN
        self._count(session, +1)
        self.half_open.pop(session.number, None)
        self.asleep.pop(session.number, None)
        if session.half_open:
            self.half_open[session.number] = session
        elif phase is _IDLE:
            self.asleep[session.number] = session
        for flow in session.flows:
            self._settle(flow)
        if phase is _ESTABLISHED and not session.was_established:
            session.was_established = True
            self._witness.established(session)

    def remember(self, service: Service, host: str, server: RealServer, now_s: float) -> PersistenceRecord:
        """Point a client's persistence record at a server."""
        network = client_network(host, service.config.persistence_prefix)
        return service.persistence.remember(network, server, now_s)

    def use_source(self, session: Session, address: str) -> None:
        """Note which address stands for the client towards the real server (snat); empty: none does."""
        if session.source_address != address:
            self._release_source(session)
            session.source_address = address
            if address:
                session.server.source_use[address] += 1

    def close(self, session: Session, reason: str = "") -> None:
        """End a session, and the flows that carried nothing else; the reason, if not given, is what was seen of it."""
        if session.phase is Phase.CLOSED:
            return
        self._witness.ended(session, reason or how_it_ended(session))
        self.ended += 1
        self._latest_ended.append(session.number)
        self.set_phase(session, Phase.CLOSED)
        session.service.ended_sessions += 1
        session.server.ended_sessions += 1
        del self.sessions[session.number]
        for spi_i, _ in session.spis:
            self._unbind(session, spi_i)
        siblings = session.service.by_host[session.host]
        siblings.remove(session)
        if not siblings:
            del session.service.by_host[session.host]
        self._release_source(session)
        for flow in session.flows:
            flow.sessions.remove(session)
            self._settle(flow)
            if not flow.sessions:
                self._end(flow)
        session.flows.clear()
        self._expiry.discard(session)

    def drop_flow(self, flow: Flow, reason: str = "") -> None:
        """End a flow; a session left without any sleeps if it was established, else it ends, as by `close`."""
        carried = flow.sessions.copy()
        flow.sessions.clear()
        self._settle(flow)
        for session in carried:
            session.flows.remove(flow)
            if session.flows:
                continue
            if session.half_open or session.anonymous:
                self.close(session, reason)
            else:
                self.set_phase(session, Phase.IDLE)
                self.look_again(session, session.last_seen_s + session.service.config.timeouts.spi_binding_s)
        self._end(flow)

    def refresh(self, session: Session, now_s: float) -> None:
        """Count what the kernel has forwarded of a session by now."""
        for flow in session.flows:
            self._fast_path.refresh(flow, now_s)

    def look_again(self, session: Session, due_s: float) -> None:
        """Have a session's deadline looked at no earlier than `due_s`."""
        self._expiry.push(due_s, session, self._session_due)

    def close_deleted(self, successor: Session, now_s: float) -> None:
        """End what a new session on the same flow replaces: sessions deleted as far as anyone can see."""
        for flow in tuple(successor.flows):
            for session in tuple(flow.sessions):
                if session is successor or not session.deleted_s:
                    continue
                self.refresh(session, now_s)
                if session.quiet_since_deletion:
                    self.close(session)

    def ended_since(self, ended: int) -> list[int] | None:
        """The numbers of the sessions that ended since so many had; None: of more than are known."""
        count = self.ended - ended
        return list(islice(reversed(self._latest_ended), count)) if count <= ENDINGS_KEPT else None

    def expire(self, now_s: float, limit: int) -> bool:
        """End what is due, looking at `limit` things at most; says whether more is waiting."""
        return self._expiry.run(now_s, limit)

    def _settle(self, flow: Flow) -> None:
        flow.settle()
        if flow.port is _NAT_T:
            self._fast_path.offer(flow)

    def _evict(self, session: Session, reason: str) -> None:
        self.evicted += 1
        self.close(session, reason)

    def _check_flow(self, flow: Flow, now_s: float) -> float | None:
        if not flow.sessions:
            return None
        self._fast_path.refresh(flow, now_s)
        due_s = flow.last_seen_s + flow.idle_timeout_s
        if due_s > now_s:
            return due_s
        self.drop_flow(flow)
        return None

    def _check_session(self, session: Session, now_s: float) -> float | None:
        timeouts = session.service.config.timeouts
        if session.phase is Phase.CLOSED:
            return None
        self.refresh(session, now_s)
        if session.half_open:
            # Quiet after an IKE_AUTH answer that has room for an AUTH payload: a tunnel without traffic yet. A peer
            # that goes on with IKE_AUTH after all (EAP with a person at it) puts the session back.
            authenticated = session.authenticated
            since_s = session.last_seen_s if authenticated else session.last_activity_s()
            due_s = since_s + (AUTH_QUIET_S if authenticated else timeouts.half_open_s)
            if due_s > now_s:
                return due_s
            if not authenticated:
                self.close(session)
                return None
            self.set_phase(session, Phase.ESTABLISHED)
        if session.deleted_s:
            if session.quiet_since_deletion:
                if session.deleted_s + DELETED_QUIET_S > now_s:
                    return session.deleted_s + DELETED_QUIET_S
                self.close(session)
                return None
            session.deleted_s = 0.0
        due_s = session.last_activity_s() + timeouts.spi_binding_s
        if due_s > now_s:
            return due_s
        if any(flow.owner is session for flow in session.flows):
            return now_s + timeouts.spi_binding_s
        self.close(session)
        return None

    def _end(self, flow: Flow) -> None:
        del flow.service.flows[flow.port][flow.client]
        self.flow_count -= 1
        self._expiry.discard(flow)
        if flow.persistence is not None:
            flow.service.persistence.leave(flow.persistence, flow.last_seen_s)
        self._release(flow)

    def _count(self, session: Session, step: int) -> None:
        if session.half_open:
            session.server.half_open += step
        elif session.phase is _ESTABLISHED or session.phase is _MOVED:
            session.server.established += step

    def _unbind(self, session: Session, spi_i: int) -> None:
        if session.service.by_spi.get(spi_i) is session:
            del session.service.by_spi[spi_i]

    def _release_source(self, session: Session) -> None:
        if session.source_address:
            use = session.server.source_use
            use[session.source_address] -= 1
            if use[session.source_address] <= 0:
                del use[session.source_address]
            session.source_address = ""


def _latest_nat_t(session: Session, beside: Flow) -> Flow | None:
    """The NAT-T flow that an established session used before another one."""
    return next((flow for flow in reversed(session.flows) if flow.port is beside.port is Port.NAT_T), None)
