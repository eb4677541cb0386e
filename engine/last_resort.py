"""Real servers that went down when no other one could take over: their sessions stay until one can.

More often than all of a service's servers at once it is the way to them that fails, or this machine. To end sessions
that nobody else takes helps no client; it would cost each a reconnect once the fault is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from engine.config.schema import AdminState
from engine.events import EventLog
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import ineligible
from engine.wording import count, verb

Evacuate = Callable[[Service, RealServer], Awaitable[int]]


class LastResort:
    """Decides when a server that is down loses its sessions."""

    def __init__(self, nursery: trio.Nursery, events: EventLog, evacuate: Evacuate) -> None:
        self._nursery = nursery
        self._events = events
        self._evacuate = evacuate
        self._kept: dict[RealServer, Service] = {}

    def went_down(self, service: Service, server: RealServer) -> None:
        """End a server's sessions if others can take its clients; else it keeps them."""
        if others_take_over(service, server):
            self._nursery.start_soon(self._evacuate, service, server)
            return
        server.last_resort = True
        self._kept[server] = service
        if sessions := server.established + server.half_open:
            text = (
                f"{service.name}/{server.name} keeps its {count(sessions, 'session')}: no other server takes them yet"
            )
            self._events.add("warning", "sessions-kept", text, service=service.name, server=server.name)

    def look(self) -> None:
        """End the sessions that others take by now; call it again and again."""
        for server, service in list(self._kept.items()):
            is_down = server.health.health == "down" and server.config.state is not AdminState.DISABLED
            if is_down and service.servers.get(server.name) is server and not others_take_over(service, server):
                continue
            del self._kept[server]
            server.last_resort = False
            if is_down:
                sessions = server.established + server.half_open
                text = f"others take over from {service.name}/{server.name}: {count(sessions, 'session')} there "
                self._events.add(
                    "notice",
                    "sessions-given-up",
                    f"{text}{verb(sessions, 'end')}",
                    service=service.name,
                    server=server.name,
                )
                self._nursery.start_soon(self._evacuate, service, server)


def others_take_over(service: Service, server: RealServer) -> bool:
    """Whether another server takes new sessions, and is not about to go down as well."""
    return any(
        other is not server and ineligible(service, other) is None and not other.health.contrary_in_row
        for other in service.servers.values()
    )
