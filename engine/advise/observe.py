"""Gathers what advice is drawn from; it only reads what others keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import trio

from engine.advise.facts import Fragmentation, Office, ServerFacts, ServiceFacts
from engine.advise.products import Product, product_of
from engine.advise.routes import Route, routes_to
from engine.config.schema import Source
from engine.sessions.flow import Port
from engine.sessions.invariants import FragmentedAuth
from engine.sessions.query import slices
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.steering import ineligible
from engine.sessions.table import SessionTable
from engine.sessions.tracking import SAME_FLOW
from engine.telemetry.telemetry import Telemetry
from engine.wire.notifies import announces_fragmentation


async def observe(services: Iterable[Service], table: SessionTable, telemetry: Telemetry) -> list[ServiceFacts]:
    """How these services stand."""
    looked_at = list(services)
    transparent = [service for service in looked_at if service.config.source is Source.TRANSPARENT]
    routes = await routes_to(server.address for service in transparent for server in service.servers.values())
    reauthenticated = await _reauthenticated(table)
    facts = []
    for service in looked_at:
        office = await _office(service)
        servers = list(service.servers.values())
        facts.append(_service(service, servers, office, routes, reauthenticated, telemetry))
    return facts


def fragmentation_of(greetings: Collection[tuple[bytes, bytes]]) -> Fragmentation:
    """What IKE_SA_INIT requests and their answers, the latest last, tell of IKE fragmentation.

    The latest request that offers it counts: without that no answer may agree to it (RFC 7383 section 2.3).
    """
    for request, answer in reversed(tuple(greetings)):
        if announces_fragmentation(request):
            return Fragmentation.BOTH if announces_fragmentation(answer) else Fragmentation.SERVER_LACKS
    return Fragmentation.CLIENT_LACKS if greetings else Fragmentation.UNKNOWN


def _service(
    service: Service,
    servers: list[RealServer],
    office: Office | None,
    routes: dict[str, Route],
    reauthenticated: Counter[RealServer],
    telemetry: Telemetry,
) -> ServiceFacts:
    taking = {server for server in servers if ineligible(service, server) is None}
    sessions = sum(map(_sessions, servers))
    weights = sum(server.config.weight for server in taking)
    requests = [request for server in servers for request, _ in server.greetings]
    fragmented = service.violations.latest.get(FragmentedAuth.kind)
    return ServiceFacts(
        config=service.config,
        servers=tuple(
            ServerFacts(
                config=server.config,
                product=product_of(answer for _, answer in server.greetings),
                health=server.health.health,
                probe_reason=server.health.reason,
                busy=server.health.busy,
                downs=sum(change.new == "down" for _, change in server.history.changes),
                sessions=_sessions(server),
                half_open=server.half_open,
                takes_new=server in taking,
                share=_sessions(server) / sessions if sessions else 0.0,
                weighted_share=server.config.weight / weights if server in taking else 0.0,
                packets_in=server.packets_in,
                packets_out=server.packets_out,
                unanswered=telemetry.unanswered(server),
                source_use=dict(server.source_use),
                fragmentation=fragmentation_of(server.greetings),
                reauthenticated=reauthenticated[server],
                route=routes.get(server.address),
            )
            for server in servers
        ),
        windows_clients=product_of(requests) is Product.WINDOWS,
        office=office,
        violations=Counter(service.violations.counts),
        fragmented=fragmented if isinstance(fragmented, FragmentedAuth) else None,
    )


def _sessions(server: RealServer) -> int:
    return server.established + server.half_open


async def _reauthenticated(table: SessionTable) -> Counter[RealServer]:
    """Sessions that began with an IKE_SA_INIT on the NAT-T flow of an earlier one, by real server."""
    found: Counter[RealServer] = Counter()
    for some in slices(list(table.sessions.values())):
        found.update(session.server for session in some if _began_on_nat_t(session))
        await trio.lowlevel.checkpoint()
    return found


def _began_on_nat_t(session: Session) -> bool:
    return session.why == SAME_FLOW and bool(session.flows) and session.flows[0].port is Port.NAT_T


async def _office(service: Service) -> Office | None:
    """The client address with the most sessions, if there are any."""
    busiest: list[Session] = []
    for some in slices(list(service.by_host.values())):
        busiest = max([busiest, *some], key=len)
        await trio.lowlevel.checkpoint()
    if not busiest:
        return None
    servers = Counter(session.server.name for session in busiest)
    return Office(busiest[0].host, len(busiest), tuple(name for name, _ in servers.most_common()))
