"""Configurations and findings to judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netaddr import IPAddress

from engine.advise.routes import Route
from engine.config.schema import AdminState, RealServer, Service
from engine.control.status import EngineStatus
from engine.doctor.diagnosis import Diagnosis
from engine.doctor.network import Device, Network

VIP, INSIDE = "203.0.113.10", "10.0.0.1"
SERVERS = {"s1": "10.0.0.11", "s2": "10.0.0.12"}


def service(name: str, *, states: Mapping[str, AdminState] | None = None, **settings: Any) -> Service:
    """A service with two real servers."""
    states = states or {}
    servers = [
        RealServer(name=server, address=IPAddress(address), state=states.get(server, AdminState.ENABLED))
        for server, address in SERVERS.items()
    ]
    settings.setdefault("address", IPAddress(VIP))
    return Service(name=name, real_servers=servers, **settings)


def network(*, outside: Device | None = None, inside: Device | None = None, **changes: Any) -> Network:
    """A balancer between two networks, where all is well: `wan` towards clients, `lan` towards the real servers."""
    outside = outside or Device("wan", addresses=(VIP,))
    inside = inside or Device("lan", addresses=(INSIDE,))
    facts: dict[str, Any] = {
        "devices": {outside.name: outside, inside.name: inside},
        "to_servers": {address: Route(INSIDE, "", inside.name) for address in SERVERS.values()},
        "to_clients": {VIP: Route(VIP, "203.0.113.1", outside.name)},
    }
    return Network(**(facts | changes))


def status(**changes: Any) -> EngineStatus:
    """A running engine."""
    plain: dict[str, Any] = {
        "host": "lb",
        "version": "0.1.0",
        "pid": 4242,
        "started_at": 0.0,
        "up_s": 0.0,
        "now_at": 1.0,
        "config_path": "/etc/ikeconsole/config.toml",
        "fast_path": "off",
        "fast_path_reason": "",
        "sessions": 0,
        "half_open": 0,
        "flows": 0,
        "max_sessions": 1,
        "evicted": 0,
        "open_sockets": 0,
        "max_open_sockets": 1,
        "sockets_taken_back": 0,
        "memory_bytes": 0,
        "services": [],
    }
    return EngineStatus(**(plain | changes))


def only(said: Iterable[Diagnosis], *, subject: str | None = None, check: str | None = None) -> Diagnosis:
    """The one diagnosis of a subject and a check."""
    found = [
        one for one in said if (subject is None or one.subject == subject) and (check is None or one.check == check)
    ]
    assert len(found) == 1, found
    return found[0]
