"""The session table: the one place where sessions and flows are made and unmade."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count, islice
from typing import Protocol

from engine.sessions import eviction, invariants, keys
from engine.sessions.endings import CROWDED, EVICTED, how_it_ended
from engine.sessions.expiry import ExpiryQueue
from engine.sessions.fast_path import FastPath, NoFastPath
from engine.sessions.flow import Flow, Port, SocketAddress, format_address
from engine.sessions.persistence import PersistenceRecord
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import HALF_OPEN, Phase, Session

AUTH_QUIET_S = 2.0
DELETED_QUIET_S = 30.0
"""One and a half intervals of the keepalives that a living tunnel sends."""
FLOWS_PER_SESSION = 8
HALF_OPEN_PER_FLOW = 8
ENDINGS_KEPT = 10_000

# To look up an enumeration's member by name costs as much as all else on a line that compares with it.
_IKE, _NAT_T = Port.IKE, Port.NAT_T
_ESTABLISHED, _MOVED, _IDLE, _CLOSED = Phase.ESTABLISHED, Phase.MOVED, Phase.IDLE, Phase.CLOSED


class TableFull(Exception):
    """No room for a new session, and no half-open one to give way."""


class Witness(Protocol):
    """Whoever is told what becomes of sessions."""

    def established(self, session: Session) -> None:
        """A session was set up, for the first time."""
        ...

    def moved(self, session: Session, before: SocketAddress) -> None:
        """The client of an established session goes on from elsewhere; it was here before."""
        ...

    def ended(self, session: Session, reason: str) -> None:
        """A session ends; it still is as it was."""
        ...


class SessionTable:
    """All sessions of the engine: bounded. When it is full, `eviction` says which one gives way."""

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
        self.changed: dict[int, Session] | None = None
        """What is new, different or gone since somebody looked; None: nobody does."""
        self._latest_ended: deque[int] = deque(maxlen=ENDINGS_KEPT)
        self._release = release
        self._witness = witness
        self._fast_path: FastPath = fast_path or NoFastPath()
        self._due_flows, self._due_sessions = ExpiryQueue(self._check_flow), ExpiryQueue(self._check_session)
        self._numbers = count(1)

    def mark(self, session: Session) -> None:
        """A session is not what it was any more."""
        if self.changed is not None:
            self.changed[session.number] = session

    def open(
        self, service: Service, server: RealServer, host: str, why: str, now_s: float, flow: Flow | None = None
    ) -> Session:
        """Begin a session; on `flow`, if it is to share one with others.

        Raises:
            TableFull: every session is established.
        """
        if len(self.sessions) >= self.max_sessions and not eviction.has_dispensable(self, now_s):
            raise TableFull
        if flow is not None:
            # A tunnel that the kernel has carried since the last look is up: it keeps the flow.
            self._fast_path.refresh(flow, now_s)
        session = Session(next(self._numbers), service, server, host, why, now_s)
        self.sessions[session.number] = session
        self.half_open[session.number] = session
        server.half_open += 1
        keys.claim(session)
        service.new_sessions += 1
        server.new_sessions += 1
        self.mark(session)
        self.look_again(session, now_s + service.config.timeouts.half_open_s)
        if flow is not None:
            self.attach(session, flow)
        # Last: a flow whose only session gives way to this one lives on with this one.
        if len(self.sessions) > self.max_sessions:
            self._evict(eviction.dispensable(self), EVICTED)
        return session

    def add_flow(self, session: Session, port: Port, client: SocketAddress, now_s: float, why: str = "") -> Flow:
        """Begin a flow of a session; `why`, of one that is known, is by what it was recognised."""
        service = session.service
        if session.phase is _IDLE:
            invariants.session_wakes(session, client, now_s)
        flow = Flow(service, port, client, session.server, now_s)
        flow.why = why
        if port is _NAT_T and client == session.place and service.is_snat:
            flow.source = session.left_source
        service.flows[port][client] = flow
        self.flow_count += 1
        self.attach(session, flow)
        if client[0] == session.host:
            keys.keep_record(session, flow, now_s)
        self._due_flows.push(min(now_s + flow.idle_timeout_s, flow.proof_due_s), flow)
        return flow

    def attach(self, session: Session, flow: Flow) -> None:
        """Let a flow carry one more session.

        Of very many half-open ones the first gives way: anybody can begin them, and each slows every later message.
        """
        if len(session.flows) >= FLOWS_PER_SESSION:
            self._part_with_a_flow(session)
        flow.carry(session)
        self._settle(flow)
        if flow.source is not None and flow.service.is_snat and not session.source_address:
            keys.use_source(session, flow.source[0])
        if len(flow.sessions) > HALF_OPEN_PER_FLOW:
            half_open = [other for other in flow.sessions if other.half_open]
            if len(half_open) > HALF_OPEN_PER_FLOW:
                self._evict(half_open[0], CROWDED)

    def prove(self, session: Session, flow: Flow, now_s: float) -> None:
        """The real server has shown that a session's client is at the end of a flow: only now it counts as there."""
        if session.place is flow.client and flow.proven and session.phase is not _IDLE:
            return
        if not flow.proven:
            flow.proven = True
            self._settle(flow)
        if session.phase is _IDLE:
            self.set_phase(session, _ESTABLISHED)
        if flow.client[0] != session.host:
            keys.change_host(session, flow.client[0])
        keys.keep_record(session, flow, now_s)
        if flow.port is _IKE:
            return
        before, session.place = session.place, flow.client
        if before is not None and before != flow.client and not session.half_open:
            known = flow.why or "known SPI"
            session.why = f"{known}: moved here from {format_address(before)}; at first {session.decided}"
            self.set_phase(session, _MOVED)
            self._witness.moved(session, before)

    def set_phase(self, session: Session, phase: Phase) -> None:
        """Move a session to a phase; loads and the close look at its flows follow."""
        if session.phase is phase:
            return
        if session.half_open and phase in HALF_OPEN:
            session.phase = phase
            self.half_open.move_to_end(session.number)
            self.mark(session)
            return
        self._count(session, -1)
        self.mark(session)
        if session.half_open:
            session.service.newcomers.leave(session.number)
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
            if (took_s := session.handshake_s) is not None:
                session.server.handshakes.add(took_s)
            self._witness.established(session)

    def close(self, session: Session, reason: str = "") -> None:
        """End a session, and the flows that carried nothing else; the reason, if not given, is what was seen of it."""
        if session.phase is _CLOSED:
            return
        self._witness.ended(session, reason or how_it_ended(session))
        if session.half_open:
            invariants.session_fails(session)
        self.ended += 1
        self._latest_ended.append(session.number)
        self.set_phase(session, _CLOSED)
        session.service.ended_sessions += 1
        session.server.ended_sessions += 1
        del self.sessions[session.number]
        keys.release(session)
        for flow in session.flows:
            flow.let_go(session)
            self._settle(flow)
            if not flow.sessions:
                self._end(flow)
        self._due_sessions.discard(session)

    def readmit(self, session: Session) -> None:
        """Take in a session as it was in an earlier engine, its flows apart; its number must be free.

        Raises:
            TableFull: there are as many as there may be.
        """
        if len(self.sessions) >= self.max_sessions:
            raise TableFull
        self.sessions[session.number] = session
        self._numbers = count(max(session.number + 1, next(self._numbers)))
        self._count(session, +1)
        if session.half_open:
            self.half_open[session.number] = session
        elif session.phase is _IDLE:
            self.asleep[session.number] = session
        keys.claim(session)
        self.look_again(session, 0.0)

    def readmit_flow(self, flow: Flow, record: PersistenceRecord | None) -> None:
        """Take in a flow as it was in an earlier engine, after its sessions; it keeps `record` alive."""
        words_in, words_out = flow.esp_in, flow.esp_out
        flow.service.flows[flow.port][flow.client] = flow
        self.flow_count += 1
        for session in flow.sessions:
            session.flows += (flow,)
        if record is not None:
            flow.persistence = record
            flow.service.persistence.take(record)
        self._settle(flow)
        flow.esp_in, flow.esp_out = words_in, words_out
        self._due_flows.push(0.0, flow)

    def drop_flow(self, flow: Flow, reason: str = "") -> None:
        """End a flow; a session left without any sleeps if it was established, else it ends, as by `close`."""
        carried, flow.sessions = flow.sessions, ()
        self._settle(flow)
        for session in carried:
            flow.let_go(session)
            if flow.port is _NAT_T and session.place == flow.client:
                session.left_source = flow.source
            self.mark(session)
            if session.flows:
                self._find_client(session, flow)
                continue
            if session.half_open or session.anonymous:
                self.close(session, reason)
            else:
                self.set_phase(session, _IDLE)
                self.look_again(session, session.last_seen_s + session.service.config.timeouts.spi_binding_s)
        self._end(flow)

    def put_to_sleep(self, session: Session, reason: str) -> None:
        """End a session's flows: it sleeps if it was established, else it ends for the reason."""
        for flow in session.flows:
            self.drop_flow(flow, reason)
        if session.phase is _IDLE:
            self.asleep.move_to_end(session.number, last=False)

    def refresh(self, session: Session, now_s: float) -> None:
        """Count what the kernel has forwarded of a session by now."""
        for flow in session.flows:
            self._fast_path.refresh(flow, now_s)

    def look_again(self, session: Session, due_s: float) -> None:
        """Have a session's deadline looked at no earlier than `due_s`."""
        self._due_sessions.push(due_s, session)

    def close_deleted(self, successor: Session, now_s: float) -> None:
        """End what a new session on the same flow replaces: sessions deleted as far as anyone can see."""
        for flow in successor.flows:
            for session in flow.sessions:
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
        """End what is due, looking at `limit` flows and sessions each at most; says whether more is waiting."""
        # Sessions first: a flow stays for those that are being set up on it, and a session that was set up outlives it.
        more = self._due_sessions.run(now_s, limit)
        more |= self._due_flows.run(now_s, limit)
        # A session that a flow leaves without any may be due at once.
        return more or self._due_sessions.is_due(now_s)

    @property
    def deadlines(self) -> int:
        """Flows and sessions that will be looked at."""
        return len(self._due_flows) + len(self._due_sessions)

    def _settle(self, flow: Flow) -> None:
        flow.settle()
        if self.changed is not None:
            for session in flow.sessions:
                self.changed[session.number] = session
        owner = flow.owner
        # Most often a session is being set up: a flow on which no real server has answered yet carries no tunnel.
        if flow.port is _NAT_T and (flow.proven or owner is None or not owner.half_open):
            self._fast_path.offer(flow)

    def _evict(self, session: Session, reason: str) -> None:
        self.evicted += 1
        self.close(session, reason)

    def _check_flow(self, flow: Flow, now_s: float) -> float | None:
        if not flow.sessions:
            return None
        self._fast_path.refresh(flow, now_s)
        due_s = min(flow.last_seen_s + flow.idle_timeout_s, flow.proof_due_s)
        if due_s > now_s:
            return due_s
        self.drop_flow(flow)
        return None

    def _part_with_a_flow(self, session: Session) -> None:
        """Make a session of very many flows leave one: rather than any other one that its server never answered on."""
        self.refresh(session, session.last_seen_s)
        flow = min(session.flows, key=lambda flow: (flow.proven, flow.last_out_s > 0, flow.last_seen_s))
        if flow.sessions == (session,):
            self.drop_flow(flow)
        else:
            flow.let_go(session)
            self._settle(flow)

    def _find_client(self, session: Session, left: Flow) -> None:
        """A session's client is no longer on a flow: it may have gone back to an earlier one, with nothing but ESP."""
        if left.port is not _NAT_T or session.place != left.client:
            return
        proven = (flow for flow in session.flows if flow.proven and flow.port is _NAT_T and flow.owner is session)
        flow = max(proven, key=lambda flow: flow.last_out_s, default=left)
        if flow.last_out_s > left.last_out_s:
            self.prove(session, flow, flow.last_out_s)

    def _check_session(self, session: Session, now_s: float) -> float | None:
        timeouts = session.service.config.timeouts
        if session.phase is _CLOSED:
            return None
        self.refresh(session, now_s)
        if session.half_open:
            # Quiet after an IKE_AUTH answer that has room for an AUTH payload: a tunnel without traffic yet. A peer
            # that goes on with IKE_AUTH after all (EAP with a person at it) puts the session back.
            authenticated = session.authenticated
            since_s = session.last_seen_s if authenticated else session.last_sign_s()
            due_s = since_s + (AUTH_QUIET_S if authenticated else timeouts.half_open_s)
            if due_s > now_s:
                return due_s
            if not authenticated:
                self.close(session)
                return None
            self.set_phase(session, _ESTABLISHED)
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
        self._due_flows.discard(flow)
        if flow.persistence is not None:
            flow.service.persistence.leave(flow.persistence, flow.last_seen_s)
        self._release(flow)

    def _count(self, session: Session, step: int) -> None:
        if session.half_open:
            session.server.half_open += step
        elif session.phase is _ESTABLISHED or session.phase is _MOVED:
            session.server.established += step
        elif session.phase is _IDLE:
            session.server.asleep += step
