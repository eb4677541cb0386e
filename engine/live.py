"""What the services in force carry at one moment, as those see it who tell what a change would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import Service as ServiceConfig
from engine.sessions.service import Service


@dataclass(frozen=True, slots=True)
class LiveServer:
    """What a real server carries."""

    sessions: int
    """In any phase."""
    health: str
    """up, down or unknown."""
    pins: int = 0
    """Clients that the operator bound to it."""
    asleep: int = 0
    """Of the sessions, those that take no place."""


NOT_IN_FORCE = LiveServer(sessions=0, health="unknown")


@dataclass(frozen=True, slots=True)
class Live:
    """What all services carry."""

    servers: Mapping[tuple[str, str], LiveServer]
    """By the names of service and real server."""
    records: Mapping[str, int]
    """Persistence records by service, without pins."""

    def server(self, service: ServiceConfig, server: RealServerConfig) -> LiveServer:
        """What a real server carries; one that is not in force carries nothing."""
        return self.servers.get((service.name, server.name), NOT_IN_FORCE)

    def sessions_of(self, service: ServiceConfig) -> int:
        """The sessions of all real servers of a service."""
        return sum(self.server(service, server).sessions for server in service.real_servers)


def live(services: Iterable[Service]) -> Live:
    """What services carry now."""
    servers: dict[tuple[str, str], LiveServer] = {}
    records: dict[str, int] = {}
    for service in services:
        pins = Counter(pin.server for pin in service.persistence.pins)
        records[service.name] = len(service.persistence) - pins.total()
        for server in service.servers.values():
            carried = LiveServer(server.sessions, server.health.health, pins[server], server.asleep)
            servers[service.name, server.name] = carried
    return Live(servers, records)
