"""Real servers that are down and keep their clients: data still comes from them, or no other one could take over.

A firewall that lets no IKE through fails probes, and tunnels go on: to steer their clients anew would cut them off. And
more often than all of a service's servers at once it is the way to them that fails, or this machine: to give sessions
up that nobody else takes helps no client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from engine.config.schema import AdminState
from engine.events import EventLog
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import ineligible
from engine.wording import count, verb

Count = Callable[[RealServer], None]
Abandon = Callable[[Service, RealServer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Failing:
    """A server when the latest of several probes in a row failed."""

    service: Service
    packets_out: int
    talks: bool
    """Whether it has sent anything to clients since the probe before."""


class LastResort:
    """Decides when a server that is down loses its clients."""

    def __init__(self, nursery: trio.Nursery, events: EventLog, count_packets: Count, abandon: Abandon) -> None:
        """`count_packets` brings a server's counters up to date; `abandon` has its clients steered anew."""
        self._nursery = nursery
        self._events = events
        self._count_packets = count_packets
        self._abandon = abandon
        self._kept: dict[RealServer, Service] = {}
        self._failing: dict[RealServer, _Failing] = {}

    def probe_failed(self, service: Service, server: RealServer) -> None:
        """Note whether a server has sent anything to clients since the probe before failed; call before judging."""
        self._count_packets(server)
        before = self._failing.get(server) if _fails(server) else None
        talks = before is not None and server.packets_out > before.packets_out
        self._failing[server] = _Failing(service, server.packets_out, talks)

    def went_down(self, service: Service, server: RealServer) -> None:
        """Have a server's clients go elsewhere, unless it keeps them."""
        if not self._keeps(server, is_taken_over=others_take_over(service)):
            self._nursery.start_soon(self._abandon, service, server)
            return
        server.last_resort = True
        self._kept[server] = service
        if sessions := server.established + server.half_open:
            why = (
                "only its probes fail, data still comes from it"
                if self._talks(server)
                else "no other server takes them yet"
            )
            text = f"{service.name}/{server.name} keeps its {count(sessions, 'session')}: {why}"
            self._events.add("warning", "sessions-kept", text, service=service.name, server=server.name)

    def look(self) -> None:
        """Have the clients go elsewhere that can by now; call it again and again."""
        for server, failing in list(self._failing.items()):
            if failing.service.servers.get(server.name) is not server or not _fails(server):
                del self._failing[server]
        taken_over = {service for service in set(self._kept.values()) if others_take_over(service)}
        for server, service in list(self._kept.items()):
            is_down = server.health.health == "down" and server.config.state is not AdminState.DISABLED
            is_kept = is_down and self._keeps(server, is_taken_over=service in taken_over)
            if is_kept and service.servers.get(server.name) is server:
                continue
            del self._kept[server]
            server.last_resort = False
            if is_down:
                if sessions := server.established:
                    asleep = f"{count(sessions, 'session')} there {verb(sessions, 'sleep')}"
                    text = f"others take over from {service.name}/{server.name}: {asleep}"
                    self._events.add("notice", "sessions-given-up", text, service=service.name, server=server.name)
                self._nursery.start_soon(self._abandon, service, server)

    def _keeps(self, server: RealServer, *, is_taken_over: bool) -> bool:
        """Whether a server that is down keeps its clients; it does once it answers again and is about to be up."""
        comes_back = server.health.contrary_in_row > 0
        return comes_back or self._talks(server) or not is_taken_over

    def _talks(self, server: RealServer) -> bool:
        failing = self._failing.get(server)
        return failing is not None and failing.talks


def _fails(server: RealServer) -> bool:
    """Whether a server's latest probe failed, or it has not made up for those before."""
    return server.health.health == "down" or server.health.contrary_in_row > 0


def others_take_over(service: Service) -> bool:
    """Whether one server of those that are not down takes new sessions, and is not about to go down as well."""
    return any(
        ineligible(service, server) is None and not server.health.contrary_in_row for server in service.servers.values()
    )
