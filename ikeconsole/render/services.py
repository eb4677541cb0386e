"""The services and their settings."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from engine.control.status import ServiceStatus
from ikeconsole.render.columns import Column, table
from ikeconsole.render.numbers import age, si
from ikeconsole.render.states import service_state

SHORT_SCHEDULERS = {
    "round-robin": "rr",
    "weighted-round-robin": "wrr",
    "least-connections": "lc",
    "weighted-least-connections": "wlc",
    "source-hash": "hash",
    "weighted-response-time": "wrt",
    "shortest-expected-delay": "sed",
    "two-choices": "2c",
}
"""Customary short names; the other schedulers have short names already."""

_COLUMNS: list[Column[ServiceStatus]] = [
    Column("SERVICE", lambda service: service.name, flexible=True),
    Column("ADDRESS", lambda service: service.address, flexible=True),
    Column("PORTS", lambda service: f"{service.ike_port}+{service.nat_t_port}", from_width=90),
    Column("STATE", lambda service: service_state(service), least=10),
    Column("SESS", lambda service: str(service.sessions), right=True, least=5),
    Column("HALF", lambda service: str(service.half_open), right=True, from_width=100),
    Column("NEW", lambda service: si(service.new_sessions), right=True, least=4, from_width=100),
    Column("IN", lambda service: si(service.traffic.bytes_in), right=True, least=4),
    Column("OUT", lambda service: si(service.traffic.bytes_out), right=True, least=4),
    Column("SCHED", lambda service: SHORT_SCHEDULERS.get(service.scheduler, service.scheduler)),
    Column("PERSISTENCE", lambda service: _persistence(service), flexible=True),
    Column("KEPT", lambda service: si(service.persistence_records), right=True, least=4, from_width=120),
    Column("SOURCE", lambda service: service.source, from_width=120),
    Column("FOLLOWING", lambda service: "on" if service.port_following else "off", from_width=140),
    Column("DROPS", lambda service: si(sum(service.drops.values())), right=True, least=5, from_width=100),
]


def services(rows: Sequence[ServiceStatus], width: int) -> RenderableType:
    """A table of the services."""
    if not rows:
        return Text("No service yet: add a [[service]] to the configuration.")
    return table(_COLUMNS, rows, width)


def _persistence(service: ServiceStatus) -> str:
    if service.persistence == "none":
        return "none"
    return f"{service.persistence} {age(service.persistence_timeout_s)}"
