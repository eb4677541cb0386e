"""All advice there is for services and their real servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from engine.advise.capacity import capacity
from engine.advise.clients import service_clients
from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.failover import failover
from engine.advise.fragmentation import fragmentation
from engine.advise.probes import busy, probes
from engine.advise.return_path import return_path
from engine.advise.source_limits import snat_pool, source_limits
from engine.advise.spis import spi_ranges
from engine.advise.timeouts import timeouts
from engine.config.schema import AdminState
from engine.control.records import Advice

SEVERITIES: Final = ("do", "consider", "well")
"""The most urgent first."""

_OF_SERVICES: Final = (service_clients, timeouts, snat_pool, probes, spi_ranges)
_OF_SERVERS: Final = (return_path, source_limits, fragmentation, busy, capacity, failover)


def advise(services: Iterable[ServiceFacts]) -> list[Advice]:
    """What to set, the most urgent first, else by the order of the configuration."""
    found = chain.from_iterable(map(_about, services))
    return sorted(found, key=lambda advice: SEVERITIES.index(advice.severity))


def _about(service: ServiceFacts) -> Iterator[Advice]:
    for of_service in _OF_SERVICES:
        yield from of_service(service)
    for server in service.servers:
        if server.config.state is not AdminState.DISABLED:
            yield from _about_server(service, server)


def _about_server(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    for of_server in _OF_SERVERS:
        yield from of_server(service, server)
