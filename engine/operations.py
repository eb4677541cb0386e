"""Carries out what control clients ask of the engine."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import trio

from engine import reports
from engine.acceleration import Acceleration
from engine.advise.adviser import advise
from engine.advise.observe import observe
from engine.browsing import Browser
from engine.capture.capture import Capture
from engine.clients import Clients
from engine.config import edit
from engine.config.schema import AdminState, SchedulerKind
from engine.configuration import Configuration
from engine.control.api import Refused
from engine.control.calls import MAX_POINTS
from engine.control.records import (
    Advice,
    Change,
    ConfigState,
    Effect,
    Event,
    Explanation,
    PersistenceRow,
    Plan,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
    Settings,
)
from engine.control.status import EngineStatus, ProbeRow, Series, ServerHistory
from engine.deployment import Deployment
from engine.events import EventLog
from engine.forecast import Outlook, Standing, forecast, leaving
from engine.net.forwarder import Forwarder
from engine.sessions.query import BadQuery, parse_network
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import snapshot, where_clients_go
from engine.telemetry.sampler import everything
from engine.telemetry.telemetry import Telemetry
from engine.version import VERSION
from engine.wording import staying

MAX_ROWS = 10_000


class Operations:
    """The engine's side of the control API; every method runs on the engine's thread."""

    def __init__(
        self,
        deployment: Deployment,
        forwarder: Forwarder,
        configuration: Configuration,
        events: EventLog,
        telemetry: Telemetry,
        acceleration: Acceleration,
    ) -> None:
        self._deployment = deployment
        self._forwarder = forwarder
        self._configuration = configuration
        self._events = events
        self._telemetry = telemetry
        self._acceleration = acceleration
        self._browser = Browser(forwarder.table)
        self._clients = Clients(deployment, forwarder, events)
        self._started_at, self._started_s = time.time(), trio.current_time()

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
            up_s=trio.current_time() - self._started_s,
            now_at=time.time(),
            config_path=self.config_path,
            fast_path=self._acceleration.mode,
            fast_path_reason=self._acceleration.reason,
            sessions=len(table.sessions),
            half_open=len(table.half_open),
            idle=len(table.asleep),
            flows=table.flow_count,
            max_sessions=table.max_sessions,
            evicted=table.evicted,
            open_sockets=len(upstreams),
            max_open_sockets=upstreams.max_open,
            sockets_taken_back=upstreams.closed_for_room,
            memory_bytes=reports.memory_bytes(),
            services=[
                reports.service_status(service, self._deployment.kernel_drops(service), self._telemetry)
                for service in self._deployment.services.values()
            ],
            rates=self._telemetry.rates(),
            alarms=self._telemetry.alarms,
            config_digest=self._configuration.loaded.digest,
            last_event=self._events.last_number,
            kernel=self._acceleration.status(),
        )

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """The window of the session table that a query asks for; raises Refused."""
        if query.offset < 0 or not 0 <= query.limit <= MAX_ROWS:
            raise Refused("invalid", f"offset is 0 or more, limit at most {MAX_ROWS}")
        try:
            return await self._browser.page(query)
        except BadQuery as error:
            raise Refused("invalid", str(error)) from error

    def session(self, number: int) -> SessionDetail:
        """One session; raises Refused."""
        session = self._forwarder.table.sessions.get(number)
        if session is None:
            raise Refused("not-found", f"there is no session {number} any more")
        now_s = trio.current_time()
        self._forwarder.table.refresh(session, now_s)
        return reports.session_detail(session, now_s)

    def explain(self, client: str) -> list[Explanation]:
        """Why a client address is where it is, and where a new session of it would go; raises Refused."""
        return self._clients.explain(client)

    async def advice(self, service: str, server: str) -> list[Advice]:
        """What to set on servers, gateways and clients, the most urgent first; raises Refused."""
        if server:
            self._find(service, server)
        chosen = [self._find_service(service)] if service else list(self._deployment.services.values())
        facts = await observe(chosen, self._forwarder.table, self._telemetry)
        return [one for one in advise(facts) if not server or one.server == server]

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        """Past events numbered above `after` and below `before` (0: all), the newest `limit` of them, oldest first."""
        return self._events.after(after, limit, before=before)

    def subscribe(self) -> AsyncGenerator[Event, None]:
        """New events as they happen."""
        return self._events.subscribe()

    def capture(self, client: str, seconds: float, messages: int, author: str) -> Capture:
        """IKE messages of a client address or prefix as they pass; raises Refused."""
        try:
            network = parse_network(client)
        except BadQuery as error:
            raise Refused("invalid", str(error)) from error
        capture = self._forwarder.captures.begin(network, seconds, messages)
        self._events.add("notice", "capture-began", f"{author} captures IKE messages of {client}", client=client)
        return capture

    async def set_server(
        self, service: str, server: str, *, state: str | None, weight: int | None, author: str
    ) -> Change:
        """Change a real server's admin state or weight, live and in the file; raises Refused."""
        owner, real_server = self._find(service, server)
        admin_state = _admin_state(state)
        _require_change(service, server, admin_state, weight)
        is_disabling = admin_state is AdminState.DISABLED
        sessions = real_server.sessions if is_disabling else real_server.established + real_server.half_open
        parts = [str(admin_state)] if admin_state else []
        if weight is not None:
            parts.append(f"weight {weight}")
        summary = f"{service}/{server}: {', '.join(parts)}"
        change = partial(edit.set_server, service=service, server=server, state=admin_state, weight=weight)
        done = (await self._configuration.edit(change, author, summary)).done
        if admin_state is AdminState.DRAIN:
            done += f"; {staying(sessions)}, {where_clients_go(owner, real_server, 'new clients')}"
        return Change(done=done, sessions=sessions if admin_state in (AdminState.DRAIN, AdminState.DISABLED) else 0)

    def preview_server(self, service: str, server: str, *, state: str | None, weight: int | None) -> Effect:
        """What `set_server` would do; raises Refused."""
        owner, real_server = self._find(service, server)
        admin_state = _admin_state(state)
        _require_change(service, server, admin_state, weight)
        self._configuration.check(owner.config, edit.changed_server(real_server.config, admin_state, weight))
        now_s = trio.current_time()
        series = self._telemetry.series([(service, server, real_server)], MAX_POINTS)
        return forecast(
            service,
            owner.config.scheduler,
            [_outlook(owner, each, now_s) for each in owner.servers.values()],
            server,
            state=admin_state,
            weight=weight,
            leaving=leaving(series[0] if series else None, self._telemetry.oldest_session_s(real_server)),
        )

    async def clear(self, client: str, session: int | None) -> Change:
        """Forget the sessions and persistence of an address or prefix, or one session alone; raises Refused."""
        return await self._clients.clear(client, session)

    async def preview_clear(self, client: str, session: int | None) -> Effect:
        """What `clear` would do; raises Refused."""
        return await self._clients.preview_clear(client, session)

    async def move(self, client: str, server: str) -> Change:
        """Send a client's next packets to another real server; raises Refused."""
        return await self._clients.move(client, server)

    def preview_move(self, client: str, server: str) -> Effect:
        """What `move` would do; raises Refused."""
        return self._clients.preview_move(client, server)

    def pin(self, client: str, server: str) -> Change:
        """Bind a client to a real server until it is unpinned; raises Refused."""
        return self._clients.pin(client, server)

    def unpin(self, client: str) -> Change:
        """Let a pinned client be scheduled again; raises Refused."""
        return self._clients.unpin(client)

    def pins(self) -> list[PersistenceRow]:
        """Every pinned client."""
        return self._clients.pins()

    def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
        """How sessions and rates went: of everything, one service or one real server; raises Refused."""
        match service, server:
            case None, None:
                return self._telemetry.series(everything(self._deployment.services.values()), points)
            case str(), None:
                return self._telemetry.series([(service, "", self._find_service(service))], points)
            case str(), str():
                return self._telemetry.series([(service, server, self._find(service, server)[1])], points)
            case _:
                raise Refused("invalid", f"name the service of real server {server!r} too")

    def server_history(self, service: str, server: str) -> ServerHistory:
        """What the probes of one real server found; raises Refused."""
        return reports.server_history(*self._find(service, server))

    async def probe_now(self, service: str, server: str) -> ProbeRow:
        """Probe a real server at once and wait for what it says; raises Refused."""
        result = await self._deployment.probing.probe_now(*self._find(service, server))
        return reports.probe_row(trio.current_time(), result)

    def settings(self) -> Settings:
        """The running configuration as tables that can be edited."""
        return self._configuration.settings()

    async def plan(self, base: str, tables: dict[str, Any]) -> Plan:
        """What edited settings would change; raises Refused."""
        return await self._configuration.plan(base, tables)

    async def apply(
        self, base: str, tables: dict[str, Any], *, summary: str, author: str, unrestricted: bool = False
    ) -> Change:
        """Put edited settings in force and into the file in one step; raises Refused."""
        return await self._configuration.apply(base, tables, author, summary, unrestricted=unrestricted)

    async def reload(self, author: str) -> Change:
        """Read the configuration file again and apply it; raises Refused."""
        return await self._configuration.reload(author)

    async def config(self) -> ConfigState:
        """The running configuration beside the file on disk."""
        return await self._configuration.state()

    async def history(self, limit: int) -> list[Revision]:
        """Saved revisions of the configuration, newest first; raises Refused."""
        return await self._configuration.revisions(limit)

    async def preview_undo(self) -> Plan:
        """What `undo` would do; raises Refused."""
        return await self._configuration.preview_undo()

    async def undo(self, author: str, *, unrestricted: bool = False) -> Change:
        """Return to the revision before the present one; raises Refused."""
        return await self._configuration.undo(author, unrestricted=unrestricted)

    def _find_service(self, service: str) -> Service:
        found = self._deployment.services.get(service)
        if found is None:
            names = ", ".join(self._deployment.services) or "none"
            raise Refused("not-found", f"there is no service {service!r}; services: {names}")
        return found

    def _find(self, service: str, server: str) -> tuple[Service, RealServer]:
        found = self._find_service(service)
        if server not in found.servers:
            names = ", ".join(found.servers) or "none"
            raise Refused("not-found", f"service {service} has no real server {server!r}; real servers: {names}")
        return found, found.servers[server]


def _outlook(service: Service, server: RealServer, now_s: float) -> Outlook:
    standing = Standing(
        admin_state=server.config.state,
        health=server.health.health,
        weight=server.weight,
        sessions=server.established + server.half_open,
        max_sessions=server.config.max_sessions,
        agent_load=server.agent_load if service.config.scheduler is SchedulerKind.ADAPTIVE else None,
    )
    return Outlook(standing, snapshot(service, server, now_s), server.health.reason, server.asleep)


def _admin_state(word: str | None) -> AdminState | None:
    if word is None:
        return None
    try:
        return AdminState(word)
    except ValueError:
        raise Refused("invalid", f"there is no state {word!r}: write one of {', '.join(AdminState)}") from None


def _require_change(service: str, server: str, state: AdminState | None, weight: int | None) -> None:
    if state is None and weight is None:
        raise Refused("invalid", f"name a state or a weight that {service}/{server} is to have")
