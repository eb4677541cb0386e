"""Makes the running services agree with a configuration: sockets, real servers, probes, return path."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from engine.config.addresses import expand_pool
from engine.config.schema import AdminState, Config, Source
from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import Service as ServiceConfig
from engine.events import EventLog
from engine.health.state import ServerHealth
from engine.last_resort import LastResort
from engine.metrics.endpoint import Endpoint as MetricsEndpoint
from engine.net import sockets
from engine.net.forwarder import Forwarder
from engine.net.listener import Listener
from engine.net.pump import Pump
from engine.net.return_path import ReturnPath
from engine.net.upkeep import Upkeep
from engine.policy.schedulers import Scheduler, make_scheduler
from engine.probing import Probing
from engine.sessions import keys
from engine.sessions.flow import Port
from engine.sessions.persistence import PersistenceRecord
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.wording import listed

CLOSED_AT_ONCE = 500
"""Sessions ended between two turns of the forwarder."""

RECORDS_AT_ONCE = 2_000

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that can be put in force: everything that may fail has been done."""

    config: Config
    metrics: socket.socket | None = None
    new_sockets: dict[Endpoint, socket.socket] = field(default_factory=dict)


class Deployment:
    """The services in force. Nothing else opens listeners, starts probes or touches the return path."""

    def __init__(
        self,
        nursery: trio.Nursery,
        forwarder: Forwarder,
        pump: Pump,
        events: EventLog,
        secret: bytes,
        in_force: Callable[[Config, Mapping[str, Service]], None] = lambda config, services: None,
    ) -> None:
        self.config = Config()
        self.services: dict[str, Service] = {}
        self._forwarder = forwarder
        self._pump = pump
        self._secret = secret
        self._random = random.Random(secret)
        self._events = events
        self._in_force = in_force
        self.metrics = MetricsEndpoint()
        self._last_resort = LastResort(nursery, events, forwarder.fast_path.count, self.abandon)
        self.probing = Probing(
            nursery, events, self._random, self._last_resort.probe_failed, self._last_resort.went_down
        )
        self._return_path = ReturnPath(pump, self.services, forwarder)
        self.upkeep = Upkeep(self._return_path, events)
        self._sockets: dict[Endpoint, socket.socket] = {}

    async def prepare(self, config: Config) -> Prepared:
        """Do all of a configuration's that may fail, and change nothing that is in force.

        Raises:
            sockets.BindError: a service's port cannot be had, or that of the metrics.
            transparent.PlumbingError: the kernel refuses the return path.
        """
        prepared = Prepared(config, self.metrics.prepare(config.engine.metrics))
        try:
            for service in config.services:
                for endpoint in _endpoints(service):
                    if endpoint not in self._sockets and endpoint not in prepared.new_sockets:
                        prepared.new_sockets[endpoint] = sockets.listener(*endpoint)
                in_force = self.services.get(service.name)
                if in_force is None or in_force.config.snat_addresses != service.snat_addresses:
                    for address in _pool(service):
                        sockets.check_local(address)
            await self._return_path.follow(_returning(self.config) | _returning(config))
        except BaseException:
            await self.discard(prepared)
            raise
        return prepared

    async def discard(self, prepared: Prepared) -> None:
        """Give back what was prepared."""
        if prepared.metrics is not None:
            prepared.metrics.close()
        for sock in prepared.new_sockets.values():
            sock.close()
        await self._return_path.follow(_returning(self.config))

    async def commit(self, prepared: Prepared) -> int:
        """Put a prepared configuration in force; returns how many sessions it ended, the others go on untouched."""
        self.config = prepared.config
        self.metrics.follow(self.config.engine.metrics, prepared.metrics)
        self._forwarder.table.max_sessions = self.config.engine.max_sessions
        self._sockets |= prepared.new_sockets
        wanted = {service.name for service in self.config.services}
        ended = 0
        for name in self.services.keys() - wanted:
            gone = self.services[name]
            self._unpinned(gone, gone.persistence.clear_pins(), "the service was removed")
            ended += await self._remove(name)
        for config in self.config.services:
            if (service := self.services.get(config.name)) and _endpoints(service.config) != _endpoints(config):
                self._stop_listening(service)
        for config in self.config.services:
            if service := self.services.get(config.name):
                ended += await self._update(service, config)
            else:
                self._add(config)
        used = self._forwarder.endpoints = frozenset(e for service in self.config.services for e in _endpoints(service))
        for endpoint in self._sockets.keys() - used:
            self._sockets.pop(endpoint).close()
        await self._return_path.follow(_returning(self.config))
        self._in_force(self.config, self.services)
        return ended

    async def close(self) -> None:
        """Take sockets and return path away; what sessions there are is left to the next engine."""
        self.metrics.close()
        for service in self.services.values():
            self._stop_listening(service)
            for server in service.servers.values():
                self.probing.stop(server)
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        await self._return_path.close()
        self._forwarder.upstreams.close_all()

    async def strangers(self) -> list[tuple[str, str]]:
        """Who sent IKE past the return path of transparent services lately: source and destination addresses."""
        return await self._return_path.strangers()

    def expire(self, now_s: float) -> None:
        """Forget the persistence records that are due, a bounded number, and sources that are no longer limited.

        Clients of a server that is down go when others can take them.
        """
        self._last_resort.look()
        for service in self.services.values():
            service.unannounced.expire(now_s)
            service.persistence.expire(service.config.persistence_timeout_s, now_s, RECORDS_AT_ONCE)

    def kernel_drops(self, service: Service) -> int:
        """Datagrams of clients that the kernel dropped because the engine did not keep up."""
        return sum(sockets.kernel_drops(self._sockets[endpoint]) for endpoint in _endpoints(service.config))

    async def abandon(self, service: Service, server: RealServer) -> None:
        """Have the clients of a real server that went down steered anew.

        Its tunnels sleep: they go on there if it had only been hung or cut off, unless their clients gave them up.
        """
        sessions = await self._sessions_left(service, server)
        for at in range(0, len(sessions), CLOSED_AT_ONCE):
            now_s = trio.current_time()
            for session in sessions[at : at + CLOSED_AT_ONCE]:
                service.violations.expel(session.host, now_s)
                self._forwarder.table.put_to_sleep(session, f"{server.name} went down")
            await trio.lowlevel.checkpoint()

    async def evacuate(self, service: Service, server: RealServer, why: str) -> int:
        """End a real server's sessions and persistence, so that its clients' next packets are steered anew."""
        return await self.end_sessions(await self._sessions_left(service, server), f"{server.name} {why}")

    async def _sessions_left(self, service: Service, server: RealServer) -> list[Session]:
        """The sessions of a real server that takes no packets any more, nothing of which leads new ones there."""
        service.persistence.forget_server(server)
        # Before the sessions, of which there may be very many: the kernel would go on sending to a dead server.
        for _ in self._forwarder.fast_path.abandon(server, trio.current_time()):
            await trio.lowlevel.checkpoint()
        return [session for session in self._sessions() if session.server is server]

    async def end_sessions(self, sessions: list[Session], reason: str) -> int:
        """End sessions for a reason, letting the forwarder work in between; returns how many.

        The list is emptied on the way: to free very many at once would take long too.
        """
        ended = len(sessions)
        while sessions:
            now_s = trio.current_time()
            for session in sessions[:CLOSED_AT_ONCE]:
                session.service.violations.expel(session.host, now_s)
                self._forwarder.table.refresh(session, now_s)
                self._forwarder.table.close(session, reason)
            del sessions[:CLOSED_AT_ONCE]
            if sessions:
                await trio.lowlevel.checkpoint()
        return ended

    def _add(self, config: ServiceConfig) -> None:
        servers = {server.name: _make_server(config, server) for server in config.real_servers}
        max_records = self.config.engine.max_sessions
        service = Service(config, servers, self._make_scheduler(config), _pool(config), max_records)
        self.services[config.name] = service
        self._listen(service)
        for server in servers.values():
            self.probing.start(service, server)

    async def _update(self, service: Service, config: ServiceConfig) -> int:
        ended = 0
        old, service.config = service.config, config
        service.address = str(config.address)
        if _endpoints(old) != _endpoints(config):
            self._listen(service)
            ended += await self.end_sessions(self._sessions_of(service), "the service's address or ports changed")
        if old.scheduler != config.scheduler:
            service.scheduler = self._make_scheduler(config)
        if (old.source, old.snat_addresses) != (config.source, config.snat_addresses):
            service.snat_pool = _pool(config)
            self._change_sources(service)
        if (old.persistence, old.persistence_prefix) != (config.persistence, config.persistence_prefix):
            service.persistence.clear()
        if old.persistence_prefix != config.persistence_prefix:
            self._unpinned(service, service.persistence.clear_pins(), "the service's persistence_prefix changed")
        return ended + await self._update_servers(service, old)

    async def _update_servers(self, service: Service, old: ServiceConfig) -> int:
        config = service.config
        before, after, emptied, ended = service.servers, dict[str, RealServer](), [], 0
        for wanted in config.real_servers:
            server = before.get(wanted.name)
            if server is None or (server.address, server.ports) != (str(wanted.address), _ports(config, wanted)):
                after[wanted.name] = _make_server(config, wanted)
                continue
            after[wanted.name] = server
            if wanted.state is AdminState.DISABLED and server.config.state is not AdminState.DISABLED:
                emptied.append(server)
            server.config = wanted
            server.health.fall, server.health.rise = config.health.fall, config.health.rise
        service.servers = after
        self._unpinned(service, service.persistence.keep_pins(after), "their real server was removed")
        removed = [server for name, server in before.items() if after.get(name) is not server]
        for server in removed:
            self.probing.stop(server)
            service.keep_counters_of(server)
        for server in after.values():
            if old.health.type is not config.health.type:
                # What another question found says nothing about this one.
                server.health = _unknown_health(config)
            if _probing_settings(old) != _probing_settings(config):
                self.probing.stop(server)
            self.probing.start(service, server)
        for server in emptied:
            ended += await self.evacuate(service, server, "was disabled")
        for server in removed:
            ended += await self.evacuate(service, server, "was removed")
        return ended

    async def _remove(self, name: str) -> int:
        service = self.services[name]
        self._stop_listening(service)
        for server in service.servers.values():
            self.probing.stop(server)
        ended = await self.end_sessions(self._sessions_of(service), "the service was taken away")
        service.persistence.clear()
        del self.services[name]
        return ended

    def _unpinned(self, service: Service, pins: list[PersistenceRecord], why: str) -> None:
        if not pins:
            return
        named = listed([f"{pin.client} ({pin.server.name})" for pin in pins])
        text = f"{service.name}: no longer pinned, because {why}: {named}"
        self._events.add("warning", "unpinned", text, service=service.name)

    def _listen(self, service: Service) -> None:
        for port, endpoint in zip(Port, _endpoints(service.config), strict=True):
            sock = self._sockets[endpoint]
            listener = Listener(service, port, self._forwarder, sock)
            self._forwarder.listeners[service.name, port] = listener
            self._pump.watch(sock.fileno(), listener.drain)

    def _stop_listening(self, service: Service) -> None:
        for port in Port:
            self._pump.forget(self._forwarder.listeners.pop((service.name, port)).fileno())

    def _change_sources(self, service: Service) -> None:
        """Have every flow of a service get a socket of the new kind with its next packet."""
        for session in self._sessions_of(service):
            keys.use_source(session, "")
            session.left_source = None
            for flow in session.flows:
                self._forwarder.upstreams.close(flow)
                flow.source = None
                self._forwarder.fast_path.offer(flow)

    def _make_scheduler(self, config: ServiceConfig) -> Scheduler:
        return make_scheduler(config.scheduler, key=self._secret, random=self._random)

    def _sessions(self) -> list[Session]:
        return list(self._forwarder.table.sessions.values())

    def _sessions_of(self, service: Service) -> list[Session]:
        return [session for session in self._sessions() if session.service is service]


def _make_server(service: ServiceConfig, config: RealServerConfig) -> RealServer:
    return RealServer(config, _ports(service, config), _unknown_health(service))


def _unknown_health(service: ServiceConfig) -> ServerHealth:
    return ServerHealth(service.health.fall, service.health.rise, trio.current_time())


def _endpoints(service: ServiceConfig) -> tuple[Endpoint, Endpoint]:
    address = str(service.address)
    return (address, service.ike_port), (address, service.nat_t_port)


def _ports(service: ServiceConfig, server: RealServerConfig) -> tuple[int, int]:
    return server.ike_port or service.ike_port, server.nat_t_port or service.nat_t_port


def _pool(service: ServiceConfig) -> tuple[str, ...]:
    return tuple(str(address) for address in expand_pool(service.snat_addresses))


def _probing_settings(service: ServiceConfig) -> tuple[object, ...]:
    return service.health, service.agent, service.scheduler, service.source, service.snat_addresses


def _returning(config: Config) -> frozenset[Endpoint]:
    """What the return path must bring back: every port of the real servers of transparent services."""
    return frozenset(
        (str(server.address), port)
        for service in config.services
        if service.source is Source.TRANSPARENT
        for server in service.real_servers
        for port in _ports(service, server)
    )
