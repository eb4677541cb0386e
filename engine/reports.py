"""Turns run-time state into the records that the control socket publishes."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from engine.control.records import FlowRow, MessageRow, PersistenceRow, SessionDetail, SessionRow, TroubleRow
from engine.control.status import (
    ChallengeStatus,
    HealthChange,
    ProbeRow,
    ServerHistory,
    ServerStatus,
    ServiceStatus,
    SourceUse,
    Traffic,
)
from engine.health.result import ProbeResult
from engine.sessions.flow import Flow, Port, format_address
from engine.sessions.persistence import PersistenceRecord, client_network
from engine.sessions.query import is_pinned, path, totals, vendor_of
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Message, Session
from engine.sessions.steering import ineligible, snapshot
from engine.sessions.trouble import Trouble, last_trouble
from engine.telemetry.telemetry import Telemetry
from engine.wire.header import exchange_name

PAGE_BYTES = 4096


def unix_time(engine_s: float, now_s: float | None = None) -> float:
    """Unix time of a moment on the engine's clock, both in seconds; `now_s` for whoever has read that clock anyway."""
    return time.time() - ((trio.current_time() if now_s is None else now_s) - engine_s)


def service_status(service: Service, kernel_drops: int, telemetry: Telemetry) -> ServiceStatus:
    """One service with its real servers; `kernel_drops` never reached the engine."""
    config, now_s = service.config, trio.current_time()
    servers = list(service.servers.values())
    taking = {server for server in servers if ineligible(service, server) is None}
    weights = sum(server.config.weight for server in taking)
    sessions = sum(server.established + server.half_open for server in servers)
    return ServiceStatus(
        name=service.name,
        address=str(config.address),
        ike_port=config.ike_port,
        nat_t_port=config.nat_t_port,
        source=config.source,
        scheduler=config.scheduler,
        persistence=config.persistence,
        persistence_timeout_s=float(config.persistence_timeout_s),
        port_following=config.port_following,
        state=_service_state(servers, taking),
        sessions=sessions,
        half_open=sum(server.half_open for server in servers),
        persistence_records=len(service.persistence),
        new_sessions=service.new_sessions,
        traffic=Traffic(
            packets_in=service.ended_packets_in + sum(server.packets_in for server in servers),
            bytes_in=service.ended_bytes_in + sum(server.bytes_in for server in servers),
            packets_out=service.ended_packets_out + sum(server.packets_out for server in servers),
            bytes_out=service.ended_bytes_out + sum(server.bytes_out for server in servers),
        ),
        drops=dict(service.drops) | ({"receive-buffer-full": kernel_drops} if kernel_drops else {}),
        servers=[
            server_status(
                service,
                server,
                telemetry,
                now_s,
                share=(server.established + server.half_open) / sessions if sessions else 0.0,
                weighted_share=server.config.weight / weights if server in taking else 0.0,
            )
            for server in servers
        ],
        rates=telemetry.rates(service),
        challenge=challenge_status(service),
        violations=dict(service.violations.counts),
    )


def challenge_status(service: Service) -> ChallengeStatus:
    """How a service asks new clients for cookies, and what came of it."""
    newcomers = service.newcomers
    return ChallengeStatus(
        mode=service.config.cookie_challenge,
        active=newcomers.challenging(service.config),
        flood_since_at=None if newcomers.flood is None else unix_time(newcomers.flood.begun_s),
        sent=newcomers.challenges_sent,
        accepted=newcomers.cookies_accepted,
        refused=newcomers.cookies_refused,
        unanswered_per_s=newcomers.unanswered_per_s,
    )


def server_status(
    service: Service, server: RealServer, telemetry: Telemetry, now_s: float, *, share: float, weighted_share: float
) -> ServerStatus:
    """One real server; the shares are parts of its service, 0..1."""
    health = server.health
    return ServerStatus(
        service=service.name,
        name=server.name,
        address=server.address,
        weight=server.config.weight,
        admin_state=server.config.state,
        health=health.health,
        health_reason=health.reason,
        health_since_at=unix_time(health.since_s, now_s),
        busy=health.busy,
        rtt_s=health.rtt_s,
        last_probe_s=None if health.last_probe_s is None else now_s - health.last_probe_s,
        agent_load=server.agent_load,
        sessions=server.established + server.half_open,
        half_open=server.half_open,
        max_sessions=server.config.max_sessions,
        share=share,
        weighted_share=weighted_share,
        new_sessions=server.new_sessions,
        traffic=Traffic(
            packets_in=server.packets_in,
            bytes_in=server.bytes_in,
            packets_out=server.packets_out,
            bytes_out=server.bytes_out,
        ),
        source_use=[SourceUse(address=a, sessions=n) for a, n in server.source_use.most_common()],
        rates=telemetry.rates(server),
        path=_path(server),
        flaps=health.flaps(now_s),
        oldest_session_s=telemetry.oldest_session_s(server),
        eased=snapshot(service, server, now_s).eased,
        handshakes=len(server.handshakes),
        handshake_median_s=server.handshakes.quantile_s(0.5),
        handshake_p95_s=server.handshakes.quantile_s(0.95),
        retransmitted_in=server.retransmitted_in,
        retransmitted_out=server.retransmitted_out,
    )


def session_row(session: Session, now_s: float) -> SessionRow:
    """One session as a list shows it."""
    spi_i, spi_r = session.spis[-1] if session.spis else (0, 0)
    passed = totals(session)
    trouble = last_trouble(session, now_s)
    return SessionRow(
        id=session.number,
        service=session.service.name,
        server=session.server.name,
        client=format_address(place) if (place := session.whereabouts) else session.host,
        phase=session.phase,
        age_s=now_s - session.created_s,
        idle_s=now_s - session.last_activity_s(),
        traffic=Traffic(
            packets_in=passed.packets_in,
            bytes_in=passed.bytes_in,
            packets_out=passed.packets_out,
            bytes_out=passed.bytes_out,
        ),
        path=path(session),
        why=session.why,
        spi_i=f"{spi_i:016x}" if spi_i else "",
        spi_r=f"{spi_r:016x}" if spi_r else "",
        pinned=is_pinned(session),
        vendor=vendor_of(session),
        error=trouble.name if trouble else "",
    )


def session_detail(session: Session, now_s: float) -> SessionDetail:
    """Everything known of one session."""
    return SessionDetail(
        row=session_row(session, now_s),
        vendor=vendor_of(session),
        flows=[flow_row(flow, now_s) for flow in session.flows],
        persistence=persistence_of(session.service, session.host, now_s),
        messages=[_message_row(message) for message in session.messages],
        handshake_s=session.handshake_s,
        retransmitted_in=session.retransmitted_in,
        retransmitted_out=session.retransmitted_out,
        trouble=_trouble_row(last_trouble(session, now_s)),
        esp_in=[f"{spi:08x}" for spi in session.esp_in],
        esp_out=[f"{spi:08x}" for spi in session.esp_out],
    )


def flow_row(flow: Flow, now_s: float) -> FlowRow:
    """One flow of a session."""
    return FlowRow(
        client=format_address(flow.client),
        port="ike" if flow.port is Port.IKE else "nat-t",
        source=format_address(flow.source) if flow.source else "",
        path="fast" if flow.fast else "slow",
        idle_s=now_s - flow.last_seen_s,
        proven=flow.proven,
        traffic=Traffic(
            packets_in=flow.packets_in,
            bytes_in=flow.bytes_in,
            packets_out=flow.packets_out,
            bytes_out=flow.bytes_out,
        ),
    )


def persistence_of(service: Service, host: str, now_s: float) -> PersistenceRow | None:
    """The persistence record of a client address, if it has one."""
    timeout_s = service.config.persistence_timeout_s
    record = service.persistence.get(client_network(host, service.config.persistence_prefix), timeout_s, now_s)
    return persistence_row(service, record, now_s) if record else None


def persistence_row(service: Service, record: PersistenceRecord, now_s: float) -> PersistenceRow:
    """One persistence record, pinned or not."""
    return PersistenceRow(
        service=service.name,
        client=record.client,
        server=record.server.name,
        left_s=0.0 if record.pinned else record.expires_s(service.config.persistence_timeout_s, now_s) - now_s,
        pinned=record.pinned,
    )


def server_history(service: Service, server: RealServer) -> ServerHistory:
    """What the probes of one real server found."""
    return ServerHistory(
        service=service.name,
        server=server.name,
        changes=[
            HealthChange(at=unix_time(at_s), old=was.old, new=was.new, reason=was.reason, after_s=was.after_s)
            for at_s, was in server.history.changes
        ],
        probes=[probe_row(at_s, result) for at_s, result in server.history.probes],
    )


def probe_row(at_s: float, result: ProbeResult) -> ProbeRow:
    """What a probe found at a moment on the engine's clock."""
    return ProbeRow(at=unix_time(at_s), ok=result.ok, reason=result.reason, rtt_s=result.rtt_s)


def memory_bytes() -> int:
    """Resident memory of this process (proc(5), statm); 0 while no file may be opened to ask."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _service_state(servers: list[RealServer], taking: set[RealServer]) -> str:
    if not taking:
        return "down"
    return "degraded" if any(server.health.health == "down" for server in servers) else "up"


def _path(server: RealServer) -> str:
    if not server.fast_flows:
        return "slow"
    return "fast" if server.fast_flows >= server.established else "mixed"


def _trouble_row(trouble: Trouble | None) -> TroubleRow | None:
    if trouble is None:
        return None
    return TroubleRow(
        at=unix_time(trouble.at_s),
        direction=_direction(trouble.inward),
        name=trouble.name,
        meaning=trouble.meaning,
    )


def _message_row(message: Message) -> MessageRow:
    return MessageRow(
        at=unix_time(message.at_s),
        direction=_direction(message.inward),
        exchange=exchange_name(message.exchange),
        message_id=message.message_id,
        response=message.response,
        size_bytes=message.size_bytes,
        repeated=message.repeated,
    )


def _direction(inward: bool) -> str:
    return "in" if inward else "out"
