"""Carries out what control clients ask of the engine."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncGenerator
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network

import trio

from engine import reports
from engine.config import edit
from engine.config.schema import AdminState, FastPath
from engine.configuration import Configuration
from engine.control.api import Refused
from engine.control.records import (
    Change,
    ConfigState,
    EngineStatus,
    Event,
    Explanation,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
)
from engine.deployment import Deployment
from engine.events import EventLog
from engine.net.forwarder import Forwarder
from engine.sessions.query import BadQuery, Selection, in_network, make_filter, parse_network, slices
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.steering import Unsteerable, decide, ineligible
from engine.version import VERSION

MAX_ROWS = 10_000
SESSIONS_EXPLAINED = 20


class Operations:
    """The engine's side of the control API; every method runs on the engine's thread."""

    def __init__(
        self, deployment: Deployment, forwarder: Forwarder, configuration: Configuration, events: EventLog
    ) -> None:
        self._deployment = deployment
        self._forwarder = forwarder
        self._configuration = configuration
        self._events = events
        self._started_at = time.time()

    @property
    def config_path(self) -> str:
        """The configuration file."""
        return str(self._configuration.path)

    def status(self) -> EngineStatus:
        """Everything at one moment."""
        table, upstreams = self._forwarder.table, self._forwarder.upstreams
        return EngineStatus(
            host=socket.gethostname(),
            version=VERSION,
            pid=os.getpid(),
            started_at=self._started_at,
            now_at=time.time(),
            config_path=self.config_path,
            fast_path="off",
            fast_path_reason=_why_no_fast_path(self._deployment.config.engine.fast_path),
            sessions=len(table.sessions),
            half_open=len(table.half_open),
            flows=table.flow_count,
            max_sessions=table.max_sessions,
            evicted=table.evicted,
            open_sockets=len(upstreams),
            max_open_sockets=upstreams.max_open,
            sockets_taken_back=upstreams.closed_for_room,
            memory_bytes=reports.memory_bytes(),
            services=[
                reports.service_status(service, self._deployment.kernel_drops(service))
                for service in self._deployment.services.values()
            ],
        )

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """The window of the session table that a query asks for; raises Refused."""
        if query.offset < 0 or not 0 <= query.limit <= MAX_ROWS:
            raise Refused("invalid", f"offset is 0 or more, limit at most {MAX_ROWS}")
        now_s = trio.current_time()
        try:
            condition = make_filter(
                service=query.service,
                server=query.server,
                client=query.client,
                spi=query.spi,
                phase=query.phase,
                idle_over_s=query.idle_over_s,
            )
            selection = Selection(condition, query.sort, query.descending, now_s)
        except BadQuery as error:
            raise Refused("invalid", str(error)) from error
        everything = list(self._forwarder.table.sessions.values())
        for part in slices(everything):
            selection.feed(part)
            await trio.lowlevel.checkpoint()
        return SessionPage(
            total=len(everything),
            matched=selection.matched,
            offset=query.offset,
            rows=[reports.session_row(session, now_s) for session in selection.window(query.offset, query.limit)],
        )

    def session(self, number: int) -> SessionDetail:
        """One session; raises Refused."""
        session = self._forwarder.table.sessions.get(number)
        if session is None:
            raise Refused("not-found", f"there is no session {number} any more")
        return reports.session_detail(session, trio.current_time())

    def explain(self, client: str) -> list[Explanation]:
        """Why a client address is where it is, and where a new session of it would go; raises Refused."""
        host = _one_host(client)
        return [
            self._explain(service, host)
            for service in self._deployment.services.values()
            if service.config.address.version == (6 if ":" in host else 4)
        ]

    def events(self, after: int, limit: int) -> list[Event]:
        """Past events numbered above `after`, the newest `limit` of them, oldest first."""
        return self._events.after(after, limit)

    def subscribe(self) -> AsyncGenerator[Event, None]:
        """New events as they happen."""
        return self._events.subscribe()

    async def set_server(
        self, service: str, server: str, *, state: str | None, weight: int | None, author: str
    ) -> Change:
        """Change a real server's admin state or weight, live and in the file; raises Refused."""
        real_server = self._find(service, server)
        admin_state = _admin_state(state)
        if admin_state is None and weight is None:
            raise Refused("invalid", f"name a state or a weight that {service}/{server} is to have")
        sessions = real_server.established + real_server.half_open
        parts = [str(admin_state)] if admin_state else []
        if weight is not None:
            parts.append(f"weight {weight}")
        summary = f"{service}/{server}: {', '.join(parts)}"
        change = partial(edit.set_server, service=service, server=server, state=admin_state, weight=weight)
        done = await self._configuration.edit(change, author, summary)
        if admin_state is AdminState.DRAIN:
            done += f"; {sessions} sessions stay until they end, new clients go to other servers"
        return Change(done=done, sessions=sessions if admin_state in (AdminState.DRAIN, AdminState.DISABLED) else 0)

    async def clear(self, client: str) -> Change:
        """Forget the sessions and persistence of a client address or prefix; raises Refused."""
        network = _network(client)
        cleared = await self._deployment.end_sessions(await self._sessions_of(network))
        records = 0
        for service in self._deployment.services.values():
            for some in slices(list(service.persistence)):
                for record in some:
                    if ip_network(record.client).overlaps(network):
                        service.persistence.forget(record)
                        records += 1
                await trio.lowlevel.checkpoint()
        if not cleared and not records:
            raise Refused("not-found", f"nothing is known of {client}")
        done = f"cleared {client}: {cleared} sessions, {records} persistence records"
        self._events.add("notice", "cleared", done, client=client)
        return Change(done=done, sessions=cleared)

    async def move(self, client: str, server: str) -> Change:
        """Send a client's next packets to another real server; raises Refused."""
        host = _one_host(client)
        services = [s for s in self._deployment.services.values() if server in s.servers and host in s.by_host]
        if not services:
            known = ", ".join(f"{s.name}/{name}" for s in self._deployment.services.values() for name in s.servers)
            raise Refused("not-found", f"no service with a server {server!r} has a session of {host}; servers: {known}")
        for service in services:
            if reason := ineligible(service, service.servers[server]):
                raise Refused("invalid", f"{service.name}/{server} takes no new sessions: {reason}")
        sessions = [session for service in services for session in service.by_host[host]]
        for service in services:
            self._forwarder.table.remember(service, host, service.servers[server], trio.current_time())
        moved = await self._deployment.end_sessions(sessions)
        done = f"{host} goes to {server} with its next packet: {moved} sessions end and must reconnect"
        self._events.add("notice", "moved", done, server=server, client=host)
        return Change(done=done, sessions=moved)

    async def reload(self, author: str) -> Change:
        """Read the configuration file again and apply it; raises Refused."""
        return Change(done=await self._configuration.reload(author))

    async def config(self) -> ConfigState:
        """The running configuration beside the file on disk."""
        return await self._configuration.state()

    async def history(self, limit: int) -> list[Revision]:
        """Saved revisions of the configuration, newest first; raises Refused."""
        return await self._configuration.revisions(limit)

    async def undo(self, author: str) -> Change:
        """Return to the revision before the present one; raises Refused."""
        return Change(done=await self._configuration.undo(author))

    def _explain(self, service: Service, host: str) -> Explanation:
        now_s = trio.current_time()
        try:
            decision = decide(service, host, now_s, preview=True)
            next_server, next_reason = decision.server.name, decision.why
        except Unsteerable:
            reasons = [f"{server.name}: {ineligible(service, server)}" for server in service.servers.values()]
            next_server, next_reason = "", "; ".join(reasons) or "the service has no real servers"
        sessions = service.by_host.get(host, [])[-SESSIONS_EXPLAINED:]
        return Explanation(
            client=host,
            service=service.name,
            sessions=[reports.session_detail(session, now_s) for session in sessions],
            persistence=reports.persistence_of(service, host, now_s),
            next_server=next_server,
            next_reason=next_reason,
        )

    def _find(self, service: str, server: str) -> RealServer:
        found = self._deployment.services.get(service)
        if found is None:
            names = ", ".join(self._deployment.services) or "none"
            raise Refused("not-found", f"there is no service {service!r}; services: {names}")
        if server not in found.servers:
            names = ", ".join(found.servers) or "none"
            raise Refused("not-found", f"service {service} has no real server {server!r}; real servers: {names}")
        return found.servers[server]

    async def _sessions_of(self, network: IPv4Network | IPv6Network) -> list[Session]:
        found: list[Session] = []
        for some in slices(list(self._forwarder.table.sessions.values())):
            found += [session for session in some if in_network(session.host, network)]
            await trio.lowlevel.checkpoint()
        return found


def _network(client: str) -> IPv4Network | IPv6Network:
    try:
        return parse_network(client)
    except BadQuery as error:
        raise Refused("invalid", str(error)) from error


def _one_host(client: str) -> str:
    network = _network(client)
    if network.num_addresses != 1:
        raise Refused("invalid", f"{client} is a prefix: name one client address")
    return str(network.network_address)


def _admin_state(word: str | None) -> AdminState | None:
    if word is None:
        return None
    try:
        return AdminState(word)
    except ValueError:
        raise Refused("invalid", f"there is no state {word!r}: write one of {', '.join(AdminState)}") from None


def _why_no_fast_path(wanted: FastPath) -> str:
    return "as configured" if wanted is FastPath.OFF else "this version forwards everything on the slow path"
