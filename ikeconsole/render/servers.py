"""The real servers: health, load and room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from engine.control.status import ServerStatus
from ikeconsole.render.columns import Column, table
from ikeconsole.render.numbers import UNKNOWN, age, round_trip, si
from ikeconsole.render.states import server_state

SOURCES_SHOWN = 5
"""The most used ones; `--json` has all."""


def servers(rows: Sequence[ServerStatus], width: int, now_at: float) -> RenderableType:
    """A table of real servers; `now_at` is the engine's clock."""
    if not rows:
        return Text("No real server yet: add a [[service.real_server]] to the configuration.")
    return Group(table(_columns(now_at), rows, width), *_source_use(rows))


def _source_use(rows: Sequence[ServerStatus]) -> Iterator[Text]:
    """How many sessions share each source address (snat): servers limit what they accept from one."""
    for server in rows:
        if not server.source_use:
            continue
        shown = ", ".join(f"{use.address} {use.sessions}" for use in server.source_use[:SOURCES_SHOWN])
        more = len(server.source_use) - SOURCES_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        yield Text(f"{server.service}/{server.name} sessions by source address: {shown}{rest}", "dim")


def _columns(now_at: float) -> list[Column[ServerStatus]]:
    return [
        Column("SERVICE/SERVER", lambda server: f"{server.service}/{server.name}", flexible=True),
        Column("ADDRESS", lambda server: server.address, flexible=True, from_width=100),
        Column("STATE", server_state, least=10),
        Column("WGT", lambda server: str(server.weight), right=True),
        Column("SESS", lambda server: str(server.sessions), right=True, least=5),
        Column("MAX", lambda server: str(server.max_sessions or UNKNOWN), right=True, from_width=100),
        Column("HALF", lambda server: str(server.half_open), right=True, from_width=120),
        Column("SHARE", lambda server: f"{100 * server.share:.0f}%", right=True, from_width=120),
        Column("OF", lambda server: f"{100 * server.weighted_share:.0f}%", right=True, from_width=120),
        Column("NEW", lambda server: si(server.new_sessions), right=True, least=4, from_width=120),
        Column("IN", lambda server: si(server.traffic.bytes_in), right=True, least=4, from_width=100),
        Column("OUT", lambda server: si(server.traffic.bytes_out), right=True, least=4, from_width=100),
        Column("RTT", lambda server: round_trip(server.rtt_s), right=True, least=5),
        Column("SETUP", lambda server: round_trip(server.handshake_median_s), right=True, least=5, from_width=120),
        Column("P95", lambda server: round_trip(server.handshake_p95_s), right=True, least=5, from_width=150),
        Column("RESENT", lambda server: si(server.retransmitted_in), right=True, from_width=150),
        Column("LOAD", lambda server: _load(server), right=True, from_width=140),
        Column("HEALTH", partial(_health, now_at=now_at), flexible=True),
    ]


def _load(server: ServerStatus) -> str:
    return UNKNOWN if server.agent_load is None else str(server.agent_load)


def _health(server: ServerStatus, *, now_at: float) -> str:
    busy = "demands cookies, " if server.busy else ""
    draining = "draining, " if server.admin_state == "drain" and server.health == "down" else ""
    return f"{age(now_at - server.health_since_at)}: {draining}{busy}{server.health_reason}"
