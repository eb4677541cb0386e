"""Which real server a datagram of an unknown flow goes to, and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.schema import PersistenceKind, SchedulerKind
from engine.policy.candidate import Candidate, Snapshot
from engine.policy.eligibility import Ineligible, why_ineligible
from engine.policy.slowstart import effective_weight
from engine.sessions import invariants, keys
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.newcomers import source_of
from engine.sessions.persistence import client_network, packed
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Phase, Session
from engine.sessions.table import SessionTable, TableFull
from engine.wire.encapsulation import NON_ESP_MARKER, Kind, esp_spi
from engine.wire.header import Exchange, IkeHeader, parse_header

CLIENT_IKE_PORT = 500
CLIENT_NAT_T_PORT = 4500
"""The ports that IKEv2 clients send from (RFC 7296 section 2.23), whatever ports the service has."""

_INIT = Exchange.IKE_SA_INIT
_IKE, _NAT_T = Port.IKE, Port.NAT_T
_ADAPTIVE = SchedulerKind.ADAPTIVE
_SCHEDULED = {kind: f"scheduled by {kind}" for kind in SchedulerKind}


class Unsteerable(Exception):
    """A datagram that goes nowhere; `reason` is the slug it is counted by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decision(msgspec.Struct, frozen=True):
    """A real server, and why it."""

    server: RealServer
    why: str


def steer(
    table: SessionTable,
    service: Service,
    port: Port,
    client: SocketAddress,
    header: IkeHeader | None,
    spi: int,
    now_s: float,
) -> Flow:
    """Begin a flow for the first datagram of a 5-tuple: ESP with its SPI, or IKE with its header.

    The order: the session that the SPIs name; then port following; then persistence; then the scheduler.

    Raises:
        Unsteerable: no real server can take it, or the table is full.
    """
    following = service.config.port_following
    host = client[0]
    if following and (known := recognised(service, host, header, spi)):
        named = f"known ESP SPI {spi:08x}" if header is None else f"known SPI {header.spi_i >> 32:08x}…"
        return table.add_flow(known, port, client, now_s, named)
    begins = header is not None and header.exchange == _INIT
    if header is not None and begins and header.response:
        raise Unsteerable("stray-response")
    if not begins and following and (sleeper := _asleep_at(service, client)):
        return table.add_flow(sleeper, port, client, now_s, "known address and port")
    if not begins and not service.unannounced.admit(source_of(host), now_s, known=host in service.by_host):
        raise Unsteerable("unknown-spi-limit")
    followed = _followed(service, port, client, begins) if following else None
    decision = Decision(followed, "port following") if followed is not None else decide(service, host, now_s)
    try:
        session = table.open(service, decision.server, host, decision.why, now_s)
    except TableFull:
        raise Unsteerable("table-full") from None
    if header is None or not following:
        # Else it is known by now that no session has these SPIs.
        invariants.session_begins(session, port, header)
    if header is not None and not header.spi_r:
        keys.bind_spis(session, header.spi_i, 0)
    return table.add_flow(session, port, client, now_s)


def recognised(service: Service, host: str, header: IkeHeader | None, spi: int) -> Session | None:
    """The session that a datagram from a client address names by its SPIs, whatever flow it comes on.

    One that sleeps on a real server that is down leads nowhere until that is up again.
    """
    if header is None:
        known = service.tunnel_of(spi)
    else:
        known = service.named_by(header, host) or (service.begun_with(header.spi_i) if header.spi_r else None)
    return known if known is not None and known.server.keeps_sessions else None


def recognised_by_answer(
    service: Service, server: RealServer, host: str, kind: Kind, port: Port, data: memoryview
) -> Session | None:
    """The session that a real server's datagram to a client address belongs to by its SPIs; raises WireError."""
    if kind is Kind.IKE:
        known = service.named_by(parse_header(data, len(NON_ESP_MARKER) if port is Port.NAT_T else 0), host)
        return known if known is not None and known.server is server else None
    spi = esp_spi(data)
    own = (session for session in service.by_host.get(host, ()) if session.server is server)
    return next((session for session in own if spi in session.esp_out), None)


def decide(service: Service, host: str, now_s: float, *, preview: bool = False) -> Decision:
    """Where a new session of a client address goes; a preview leaves the scheduler as it was.

    Only source-address persistence makes records by itself; those that the operator made count with every kind.

    Raises:
        Unsteerable: no real server takes new sessions.
    """
    config = service.config
    network = client_network(host, config.persistence_prefix)
    record = service.persistence.get(network, config.persistence_timeout_s, now_s)
    if record is None:
        return schedule(service, host, now_s, preview=preview)
    reason = ineligible(service, record.server)
    if reason is None:
        return Decision(record.server, f"{'pinned' if record.pinned else 'persistence'} {network}")
    decision = schedule(service, host, now_s, preview=preview)
    remembered = "pinned to" if record.pinned else "its record names"
    return Decision(decision.server, f"{decision.why}; {remembered} {record.server.name}: {reason}")


def schedule(service: Service, host: str, now_s: float, *, preview: bool = False) -> Decision:
    """Where a new session of a client address goes that nothing is remembered of.

    Raises:
        Unsteerable: no real server takes new sessions.
    """
    eligible = [server for server in service.servers.values() if ineligible(service, server) is None]
    candidates: Sequence[Candidate] = eligible
    if service.config.slow_start_s:
        candidates = [snapshot(service, server, now_s) for server in eligible]
    place = service.scheduler.peek if preview else service.scheduler.choose
    chosen = place(candidates, packed(host))
    if chosen is None:
        raise Unsteerable("no-server")
    return Decision(service.servers[chosen.name], _SCHEDULED[service.config.scheduler])


def ineligible(service: Service, server: RealServer) -> Ineligible | None:
    """Why a real server takes no new session; None: it does."""
    config = server.config
    return why_ineligible(
        config.state,
        server.health.health,
        config.weight,
        server.established + server.half_open,
        config.max_sessions,
        server.agent_load if service.config.scheduler is _ADAPTIVE else None,
    )


def where_clients_go(service: Service, server: RealServer, clients: str = "its clients") -> str:
    """What becomes of `clients` that a real server takes no more, in the words of alarms and events."""
    others = (other for other in service.servers.values() if other is not server)
    if any(ineligible(service, other) is None for other in others):
        if server.health.health == "down" and server.keeps_sessions:
            return "its sessions stay for now, new clients go to other servers"
        return f"{clients} go to other servers"
    return f"no other server takes {clients}"


def only_keeps(service: Service, server: RealServer) -> bool:
    """Whether a real server is down and others take new sessions: what it has may stay, and nothing begins there."""
    return server.health.health == "down" and any(
        ineligible(service, other) is None for other in service.servers.values()
    )


def snapshot(service: Service, server: RealServer, now_s: float) -> Snapshot:
    """A real server as schedulers see it, with its slow start."""
    up_since_s = server.health.up_since_s
    up_for_s = now_s - up_since_s if up_since_s else service.config.slow_start_s
    return Snapshot(
        name=server.name,
        weight=server.config.weight,
        effective_weight=effective_weight(server.config.weight, up_for_s, service.config.slow_start_s),
        load=server.load,
        rtt_s=server.health.rtt_s,
        agent_load=server.agent_load,
    )


def latest_session(service: Service, host: str, but: Session | None = None) -> Session | None:
    """The session that came to a client address last and still has a real server; never the one excepted."""
    return next(
        (
            session
            for session in reversed(service.by_host.get(host, ()))
            if session is not but and _stays(service, session.server)
        ),
        None,
    )


def _asleep_at(service: Service, client: SocketAddress) -> Session | None:
    """The session whose client was last at an address and port, if it has fallen silent meanwhile."""
    own = reversed(service.by_host.get(client[0], ()))
    return next(
        (
            session
            for session in own
            if session.phase is Phase.IDLE and session.place == client and session.server.keeps_sessions
        ),
        None,
    )


def server_of_address(service: Service, host: str, but: Session | None = None) -> RealServer | None:
    """The real server that what is unknown of a client address goes to; never for the sake of the session excepted.

    With persistence by IKE SA the address may be that of many clients on many servers: one of them says nothing of
    another, unless they agree.
    """
    latest = latest_session(service, host, but)
    if latest is None:
        return None
    if service.config.persistence is PersistenceKind.IKE_SPI:
        others = (session.server for session in service.by_host[host] if session is not but)
        if any(server is not latest.server and _stays(service, server) for server in others):
            return None
    return latest.server


def _followed(service: Service, port: Port, client: SocketAddress, begins: bool) -> RealServer | None:
    """The real server that a client's other traffic goes to.

    The first message of an IKE SA is free to go elsewhere, unless what comes after it is not: without a NAT in between,
    a client moves on to its port 4500, and if that flow is there already it stays where it is.
    """
    if not begins:
        return server_of_address(service, client[0])
    if port is _IKE and client[1] == CLIENT_IKE_PORT:
        flow = service.flows[_NAT_T].get((client[0], CLIENT_NAT_T_PORT, *client[2:]))
        if flow is None or only_keeps(service, flow.server):
            return None
        if _stays(service, flow.server) and (flow.proven or not flow.sessions[-1].anonymous):
            return flow.server
    return None


def _stays(service: Service, server: RealServer) -> bool:
    """Whether sessions on a real server go on: it is configured, and neither disabled nor down."""
    return server.keeps_sessions and service.servers.get(server.name) is server
