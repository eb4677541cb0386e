"""What a configuration asks of the machine it runs on."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config.schema import AdminState, Config, RealServer, Service, Source

UNPRIVILEGED_FROM = 1024
"""The first port that any user may bind, unless a sysctl says otherwise (ip(7))."""


def transparent_services(config: Config) -> list[Service]:
    """The services whose real servers see the clients' own addresses."""
    return [service for service in config.services if service.source is Source.TRANSPARENT]


def ports_in_use(config: Config) -> Iterator[tuple[Service, int]]:
    """Every UDP port that the engine binds, with its service."""
    for service in config.services:
        yield service, service.ike_port
        yield service, service.nat_t_port


def servers_in_use(config: Config) -> Iterator[tuple[Service, RealServer]]:
    """Every real server that may have sessions."""
    for service in config.services:
        for server in service.real_servers:
            if server.state is not AdminState.DISABLED:
                yield service, server


def place(service: Service, server: RealServer) -> str:
    """SERVICE/SERVER, as commands name a real server."""
    return f"{service.name}/{server.name}"
