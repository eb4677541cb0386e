"""What an operator asks about single clients and does to them: explain, clear, move, pin."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

import trio

from engine import client_effects as effects
from engine import reports
from engine.control.api import Refused
from engine.control.records import Change, Effect, Explanation, PersistenceRow
from engine.deployment import Deployment
from engine.events import EventLog
from engine.net.forwarder import Forwarder
from engine.sessions import keys
from engine.sessions.persistence import PersistenceRecord, client_network
from engine.sessions.query import SLICE, BadQuery, in_network, parse_network, slices
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.steering import Unsteerable, decide, ineligible
from engine.wording import count, listed

MAX_PINS = 4_000
"""In the whole engine: a list of them fits into one answer."""
SESSIONS_EXPLAINED = 20

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class _Known:
    """Everything that is remembered of a client network."""

    sessions: list[Session]
    records: list[tuple[Service, PersistenceRecord]]


class Clients:
    """The part of the control API that concerns single clients."""

    def __init__(self, deployment: Deployment, forwarder: Forwarder, events: EventLog) -> None:
        self._deployment = deployment
        self._forwarder = forwarder
        self._events = events

    def explain(self, client: str) -> list[Explanation]:
        """Why a client address is where it is, and where a new session of it would go; raises Refused."""
        host = _one_host(client)
        return [self._explain(service, host) for service in self._serving(host)]

    async def clear(self, client: str, session: int | None) -> Change:
        """Forget the sessions and persistence of an address or prefix, or one session alone; raises Refused."""
        match self._chosen(client, session):
            case Session() as chosen:
                return await self._clear_session(chosen)
            case network:
                known = await self._known(network, client)
        pins = [record.client for _, record in known.records if record.pinned]
        records = count(len(known.records) - len(pins), "persistence record")
        while known.records:
            for service, record in known.records[:SLICE]:
                service.persistence.forget(record)
            del known.records[:SLICE]
            await trio.lowlevel.checkpoint()
        cleared = await self._deployment.end_sessions(known.sessions, "cleared by the operator")
        done = f"cleared {client}: {count(cleared, 'session')}, {records}"
        if pins:
            done += f", {count(len(pins), 'pin')} ({listed(pins)})"
        self._events.add("notice", "cleared", done, client=client)
        return Change(done=done, sessions=cleared)

    async def preview_clear(self, client: str, session: int | None) -> Effect:
        """What `clear` would do; raises Refused."""
        total, now_s = len(self._forwarder.table.sessions), trio.current_time()
        match self._chosen(client, session):
            case Session() as chosen:
                lines = [
                    effects.ending(effects.tally([chosen]), total),
                    effects.cleared_session(chosen, now_s),
                    _staying(chosen),
                ]
                return Effect(lines=lines, sessions=1)
            case network:
                known = await self._known(network, client)
        found = effects.Tally()
        for some in slices(known.sessions):
            found.update(effects.tally(some))
            await trio.lowlevel.checkpoint()
        lines = [effects.ending(found, total)]
        if network.num_addresses == 1:
            host = str(network.network_address)
            for service in self._serving(host):
                own = [session for session in known.sessions if session.service is service]
                if own or any(of is service for of, _ in known.records):
                    lines.append(effects.cleared_client(service, host, own, now_s))
        else:
            lines += effects.cleared_network(known.sessions)
        return Effect(lines=lines + effects.forgetting(known.records), sessions=len(known.sessions))

    async def move(self, client: str, server: str) -> Change:
        """Send a client's next packets to another real server, and a pin of it too; raises Refused."""
        host, now_s = _one_host(client), trio.current_time()
        services = self._movable(host, server)
        sessions = [session for service in services for session in service.by_host[host]]
        repinned = []
        for service in services:
            target = _target(service, server)
            if pin := service.pin_of(host):
                service.persistence.pin(pin.client, target, now_s)
                repinned.append(f"{service.name}/{target.name}")
            else:
                keys.remember(service, host, target, now_s)
        moved = await self._deployment.end_sessions(sessions, f"moved to {server} by the operator")
        ends = "ends" if moved == 1 else "end"
        done = f"{host} goes to {server} with its next packet: {count(moved, 'session')} {ends} and must reconnect"
        if repinned:
            done += f"; it is pinned to {', '.join(repinned)} now"
        self._events.add("notice", "moved", done, server=server.rpartition("/")[2], client=host)
        return Change(done=done, sessions=moved)

    def preview_move(self, client: str, server: str) -> Effect:
        """What `move` would do; raises Refused."""
        host = _one_host(client)
        services = self._movable(host, server)
        sessions = [session for service in services for session in service.by_host[host]]
        lines = [effects.ending(effects.tally(sessions), len(self._forwarder.table.sessions))]
        for service in services:
            lines += effects.moved_client(service, host, _target(service, server))
        return Effect(lines=lines, sessions=len(sessions))

    def pin(self, client: str, server: str) -> Change:
        """Bind a client to a real server until it is unpinned; raises Refused."""
        host = _one_host(client)
        services = [service for service in self._having(server) if service in self._serving(host)]
        if not services:
            raise Refused("not-found", f"no service for {host} has a server {server!r}; {self._names()}")
        new = sum(service.pin_of(host) is None for service in services)
        if len(self._pins()) + new > MAX_PINS:
            raise Refused("failed", f"{MAX_PINS} clients are pinned, more than that cannot be: unpin some first")
        parts = [self._pin(service, host, _target(service, server)) for service in services]
        done = f"{'; '.join(parts)}. It holds until unpinned"
        self._events.add("notice", "pinned", done, server=server.rpartition("/")[2], client=host)
        return Change(done=done)

    def unpin(self, client: str) -> Change:
        """Let a pinned client, named by its address or its pinned network, be scheduled again; raises Refused."""
        network = _network(client)
        pins = [(service, pin) for service, pin in self._pins() if pin is _pin_named(service, network)]
        if not pins:
            raise Refused("not-found", f"{client} is not pinned: `ikeconsole pins` lists who is")
        for service, pin in pins:
            service.persistence.forget(pin)
        named = ", ".join(f"{pin.client} from {service.name}/{pin.server.name}" for service, pin in pins)
        done = f"unpinned {named}: its sessions stay, new ones are scheduled"
        self._events.add("notice", "unpinned", done, client=client)
        return Change(done=done)

    def pins(self) -> list[PersistenceRow]:
        """Every pinned client."""
        now_s = trio.current_time()
        return [reports.persistence_row(service, pin, now_s) for service, pin in self._pins()]

    def _explain(self, service: Service, host: str) -> Explanation:
        now_s = trio.current_time()
        try:
            decision = decide(service, host, now_s, preview=True)
            next_server, next_reason = decision.server.name, decision.why
        except Unsteerable:
            reasons = [f"{server.name}: {ineligible(service, server)}" for server in service.servers.values()]
            next_server, next_reason = "", "; ".join(reasons) or "the service has no real servers"
        sessions = service.by_host.get(host, [])[-SESSIONS_EXPLAINED:]
        for session in sessions:
            self._forwarder.table.refresh(session, now_s)
        return Explanation(
            client=host,
            service=service.name,
            sessions=[reports.session_detail(session, now_s) for session in sessions],
            persistence=reports.persistence_of(service, host, now_s),
            next_server=next_server,
            next_reason=next_reason,
        )

    def _chosen(self, client: str, session: int | None) -> Session | Network:
        if session is None and client:
            return _network(client)
        if session is None or client:
            raise Refused("invalid", "name a client address or prefix, or the number of one session")
        chosen = self._forwarder.table.sessions.get(session)
        if chosen is None:
            raise Refused("not-found", f"there is no session {session} any more")
        return chosen

    async def _clear_session(self, session: Session) -> Change:
        await self._deployment.end_sessions([session], "cleared by the operator")
        where = f"{session.host} on {session.service.name}/{session.server.name}"
        done = f"cleared session {session.number} of {where}. {_staying(session)}"
        self._events.add(
            "notice", "cleared", done, service=session.service.name, server=session.server.name, client=session.host
        )
        return Change(done=done, sessions=1)

    async def _known(self, network: Network, client: str) -> _Known:
        known = _Known([], [])
        for sessions in slices(list(self._forwarder.table.sessions.values())):
            known.sessions.extend(session for session in sessions if in_network(session.host, network))
            await trio.lowlevel.checkpoint()
        for service in list(self._deployment.services.values()):
            for records in slices(list(service.persistence)):
                known.records.extend((service, r) for r in records if ip_network(r.client).overlaps(network))
                await trio.lowlevel.checkpoint()
        if not known.sessions and not known.records:
            raise Refused("not-found", f"nothing is known of {client}")
        return known

    def _movable(self, host: str, server: str) -> list[Service]:
        services = [service for service in self._having(server) if host in service.by_host]
        if not services:
            raise Refused("not-found", f"no service with a server {server!r} has a session of {host}; {self._names()}")
        for service in services:
            target = _target(service, server)
            if reason := ineligible(service, target):
                raise Refused("invalid", f"{service.name}/{target.name} takes no new sessions: {reason}")
        return services

    def _pin(self, service: Service, host: str, server: RealServer) -> str:
        network = client_network(host, service.config.persistence_prefix)
        service.persistence.pin(network, server, trio.current_time())
        name = f"{service.name}/{server.name}"
        text = f"{network} is pinned to {name}"
        if reason := ineligible(service, server):
            text += f", which takes no new sessions now ({reason}): until it does, they go elsewhere"
        elsewhere = sum(session.server is not server for session in service.by_host.get(host, ()))
        if elsewhere:
            stay = "stays there" if elsewhere == 1 else "stay there"
            text += f"; {count(elsewhere, 'session')} of {host} on other servers {stay}"
            text += f" (`ikeconsole move {host} {name}` sends them)"
        return text

    def _serving(self, host: str) -> list[Service]:
        version = 6 if ":" in host else 4
        return [s for s in self._deployment.services.values() if s.config.address.version == version]

    def _having(self, server: str) -> list[Service]:
        """The services with a real server that is named SERVER or SERVICE/SERVER."""
        of, _, name = server.rpartition("/")
        return [s for s in self._deployment.services.values() if name in s.servers and of in ("", s.name)]

    def _pins(self) -> list[tuple[Service, PersistenceRecord]]:
        return [(service, pin) for service in self._deployment.services.values() for pin in service.persistence.pins]

    def _names(self) -> str:
        services = self._deployment.services.values()
        return f"servers: {', '.join(f'{s.name}/{name}' for s in services for name in s.servers) or 'none'}"


def _target(service: Service, server: str) -> RealServer:
    return service.servers[server.rpartition("/")[2]]


def _pin_named(service: Service, network: Network) -> PersistenceRecord | None:
    pin = service.pin_of(str(network.network_address))
    return pin if pin and (network.num_addresses == 1 or pin.client == str(network)) else None


def _staying(session: Session) -> str:
    """What is still remembered of a client when one session is forgotten."""
    service, host = session.service, session.host
    others = sum(other is not session for other in service.by_host.get(host, ()))
    record = reports.persistence_of(service, host, trio.current_time())
    kept = [count(others, "other session")] if others else []
    if record is not None:
        kept.append("its pin" if record.pinned else "its persistence record")
    return f"Of {host} stay: {' and '.join(kept)}." if kept else f"Nothing else is remembered of {host}."


def _network(client: str) -> Network:
    try:
        return parse_network(client)
    except BadQuery as error:
        raise Refused("invalid", str(error)) from error


def _one_host(client: str) -> str:
    network = _network(client)
    if network.num_addresses != 1:
        raise Refused("invalid", f"{client} is a prefix: name one client address")
    return str(network.network_address)
