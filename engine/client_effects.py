"""What forgetting or moving clients would do, in sentences for the operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.sessions.persistence import PersistenceRecord
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.steering import Decision, Unsteerable, decide, schedule, server_of_address
from engine.wording import NAMES_SPELLED, count, grouped, listed, spelled_span, verb

BREAKING = (
    "The tunnel breaks and the client must reconnect: Windows tries for its network outage time (30 min by default), "
    "strongSwan gives an unanswered message up after 165 s."
)
"""What a client notices whose packets go to a real server that does not know its tunnel."""


Tally = Counter[tuple[RealServer, str, str]]
"""How many sessions there are by real server, name of their service and phase."""


def tally(sessions: Iterable[Session]) -> Tally:
    """How many of some sessions are where, in which phase."""
    return Counter((session.server, session.service.name, session.phase.value) for session in sessions)


def ending(found: Tally, total: int) -> str:
    """How many sessions of all end, on which real servers, in which phases."""
    sessions = found.total()
    if not sessions:
        return f"No session ends, of {grouped(total)}."
    servers, phases = Counter[str](), Counter[str]()
    for (server, service, phase), number in found.items():
        servers[f"{service}/{server.name}"] += number
        phases[phase] += number
    where = listed([f"{grouped(number)} on {name}" for name, number in servers.most_common()])
    mix = ", ".join(f"{grouped(number)} {phase}" for phase, number in phases.most_common())
    return f"{grouped(sessions)} of {count(total, 'session')} {verb(sessions, 'end')}: {where} ({mix})."


def forgetting(records: list[tuple[Service, PersistenceRecord]]) -> list[str]:
    """Which pins and persistence records are forgotten."""
    lines = []
    for pinned, thing in ((True, "pin"), (False, "persistence record")):
        some = [(service, record) for service, record in records if record.pinned is pinned]
        if some:
            named = [f"{r.client} → {s.name}/{r.server.name}" for s, r in some[:NAMES_SPELLED]]
            are = "is" if len(some) == 1 else "are"
            lines.append(f"{count(len(some), thing)} {are} forgotten: {listed(named, of=len(some))}.")
    return lines


def cleared_client(service: Service, host: str, sessions: list[Session], now_s: float) -> str:
    """Where an address goes of which a service remembers nothing any more."""
    try:
        return _going(service, schedule(service, host, now_s, preview=True), sessions)
    except Unsteerable:
        return _turned_away(service)


def cleared_network(sessions: list[Session]) -> list[str]:
    """Where the clients of a whole network go of which nothing is remembered any more."""
    return [f"Each client is scheduled anew. Where that is another real server: {BREAKING}"] if sessions else []


def cleared_session(session: Session, now_s: float) -> str:
    """Where the client of a session goes when that alone is forgotten."""
    service = session.service
    followed = server_of_address(service, session.host, but=session) if service.config.port_following else None
    if any(len(flow.sessions) > 1 for flow in session.flows):
        decision = Decision(session.server, "another session shares its flow")
    elif followed is not None:
        decision = Decision(followed, "port following")
    else:
        try:
            decision = decide(service, session.host, now_s, preview=True)
        except Unsteerable:
            return _turned_away(service)
    return _going(service, decision, [session])


def moved_client(service: Service, host: str, target: RealServer) -> list[str]:
    """What a move does to an address at one service."""
    limit = f" of at most {grouped(target.config.max_sessions)}" if target.config.max_sessions else ""
    carries = f"{count(target.established + target.half_open, 'session')}{limit}"
    if pin := service.pin_of(host):
        kept = f"The pin of {pin.client} to {service.name}/{pin.server.name} is changed to it."
    else:
        kept = f"It returns there until it has been away for {spelled_span(service.config.persistence_timeout_s)}."
    decision = Decision(target, f"it carries {carries}")
    return [_going(service, decision, service.by_host.get(host, [])), kept]


def _going(service: Service, decision: Decision, sessions: list[Session]) -> str:
    target = f"Its next packet goes to {service.name}/{decision.server.name} ({decision.why})"
    if not sessions:
        return f"{target}."
    if all(session.server is decision.server for session in sessions):
        return f"{target}, where it is now: a tunnel that works there goes on."
    return f"{target}, which does not know its tunnel. {BREAKING}"


def _turned_away(service: Service) -> str:
    return f"No real server of {service.name} takes new sessions: its clients are turned away until one does."
