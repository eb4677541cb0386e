"""The columns of the real servers."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from engine.control.status import ServerStatus
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import UNKNOWN, age, rate, round_trip, si
from ikeconsole.render.shares import share_bar
from ikeconsole.render.states import StateStyles, server_state
from ikeconsole.widgets.grid_columns import GridColumn

_BAR_CELLS = 8
_MOST_SPELLED = 99_999


def server_columns(styles: Callable[[], StateStyles], now_at: Callable[[], float]) -> list[GridColumn[ServerStatus]]:
    """The columns, drawn in the styles of the moment; `now_at` is the engine's clock."""
    return [
        GridColumn("SERVER", 20, lambda server: _name(server, styles()), grow=1),
        GridColumn("STATE", 10, lambda server: server_state(server, styles()), mark=True),
        GridColumn("ADDRESS", 18, lambda server: server.address, from_width=146),
        GridColumn("WGT", 4, lambda server: si(server.weight), right=True, mark=True),
        GridColumn("SHARE", _BAR_CELLS, lambda server: _share(server, styles()), from_width=126),
        GridColumn("SESS", 5, lambda server: _count(server.sessions), right=True),
        GridColumn(
            "MAX", 5, lambda server: _count(server.max_sessions) if server.max_sessions else UNKNOWN, right=True
        ),
        GridColumn("HALF", 4, lambda server: si(server.half_open), right=True, from_width=88),
        GridColumn("NEW/s", 5, lambda server: rate(server.rates.new_sessions), right=True, from_width=94),
        GridColumn("IN b/s", 6, lambda server: si(8 * server.rates.bytes_in), right=True),
        GridColumn("OUT b/s", 7, lambda server: si(8 * server.rates.bytes_out), right=True),
        GridColumn("PATH", 5, lambda server: server.path, from_width=180),
        GridColumn("OLDEST", 6, _oldest, right=True, from_width=170),
        GridColumn("RTT", 5, lambda server: round_trip(server.rtt_s), right=True, from_width=94),
        GridColumn("SETUP", 5, lambda server: round_trip(server.handshake_median_s), right=True, from_width=176),
        GridColumn("RESENT", 6, lambda server: si(server.retransmitted_in), right=True, from_width=190),
        GridColumn("FLAPS", 5, lambda server: str(server.flaps), right=True, from_width=190),
        GridColumn("LOAD", 4, _load, right=True, from_width=180),
        GridColumn("HEALTH", 10, lambda server: _health(server, now_at()), grow=4),
    ]


def _name(server: ServerStatus, styles: StateStyles) -> Text:
    return Text.assemble((f"{printable(server.service)}/", styles.quiet), printable(server.name))


def _count(number: int) -> str:
    return str(number) if number <= _MOST_SPELLED else si(number)


def _share(server: ServerStatus, styles: StateStyles) -> Text:
    return share_bar(server.share, server.weighted_share, _BAR_CELLS, styles)


def _oldest(server: ServerStatus) -> str:
    return UNKNOWN if server.oldest_session_s is None else age(server.oldest_session_s)


def _load(server: ServerStatus) -> str:
    return UNKNOWN if server.agent_load is None else str(server.agent_load)


def _health(server: ServerStatus, now_at: float) -> str:
    busy = "demands cookies, " if server.busy else ""
    return f"{age(now_at - server.health_since_at):>6} {busy}{server.health_reason}"
