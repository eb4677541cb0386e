"""What can run out in the engine as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.net.upstreams import Upstreams
from engine.sessions.table import SessionTable
from engine.telemetry.alarms import Finding
from engine.telemetry.conditions import Stands
from engine.wording import grouped

NEAR_FULL: Final = 0.80
NOT_NEAR_FULL: Final = 0.75
SOCKETS_NEAR_LIMIT: Final = 0.90
SOCKETS_NOT_NEAR_LIMIT: Final = 0.80


def capacity_findings(table: SessionTable, upstreams: Upstreams, stands: Stands) -> Iterator[Finding]:
    """What is about to run out."""
    sessions, half_open = len(table.sessions), len(table.half_open)
    least = NOT_NEAR_FULL if stands("table-near-full", "", "") else NEAR_FULL
    if sessions >= least * table.max_sessions:
        flooded = half_open > sessions / 2
        yield Finding(
            "table-near-full",
            f"the session table is {sessions / table.max_sessions:.0%} full: {grouped(sessions)} of "
            f"{grouped(table.max_sessions)}, {grouped(half_open)} of them half-open; "
            "once it is full of tunnels, new clients get no answer",
            "most are half-open, which looks like a flood: `ikeconsole sessions --phase init` shows from where"
            if flooded
            else "raise max_sessions in [engine], then `ikeconsole reload`",
        )
    least = SOCKETS_NOT_NEAR_LIMIT if stands("sockets-near-limit", "", "") else SOCKETS_NEAR_LIMIT
    if len(upstreams) >= least * upstreams.max_open:
        yield Finding(
            "sockets-near-limit",
            f"{grouped(len(upstreams))} of {grouped(upstreams.max_open)} upstream sockets are open: beyond that they "
            "are taken from clients that still use them, who may lose their tunnel with snat",
            "raise the file limit (LimitNOFILE) or max_open_sockets in [engine], then restart the engine",
        )
