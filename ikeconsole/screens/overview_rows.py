"""The rows and columns of the overview: every service, and under it its real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from engine.control.status import Series, ServerStatus, ServiceStatus
from engine.wording import count
from ikeconsole.render.columns import printable
from ikeconsole.render.facts import taking_sessions
from ikeconsole.render.numbers import UNKNOWN, age, rate, round_trip, si
from ikeconsole.render.shares import share_bar
from ikeconsole.render.sparks import sparkline
from ikeconsole.render.states import StateStyles, server_state, service_state
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.grid_columns import GridColumn

_FIVE_MINUTES_S = 300
_BAR_CELLS = 8
_SPARK_CELLS = 10
_MOST_SPELLED = 99_999


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """A service, or one of its real servers."""

    service: ServiceStatus
    server: ServerStatus | None
    branch: str
    """What leads from the service to it."""
    series: Series | None

    @property
    def key(self) -> tuple[str, str]:
        """What it is, however the rows move."""
        return self.service.name, self.server.name if self.server else ""

    @property
    def thing(self) -> ServiceStatus | ServerStatus:
        """What it shows."""
        return self.server or self.service


def overview_rows(snapshot: Snapshot) -> list[OverviewRow]:
    """Every service with its real servers, in the order of the configuration."""
    rows = []
    for service in snapshot.status.services:
        rows.append(OverviewRow(service, None, "", snapshot.series.get((service.name, ""))))
        for server in service.servers:
            branch = "└ " if server is service.servers[-1] else "├ "
            rows.append(OverviewRow(service, server, branch, snapshot.series.get((service.name, server.name))))
    return rows


def overview_columns(styles: Callable[[], StateStyles]) -> list[GridColumn[OverviewRow]]:
    """The columns, drawn in the styles of the moment."""
    return [
        GridColumn("SERVICE / SERVER", 15, lambda row: _name(row, styles()), grow=1),
        GridColumn("STATE", 10, lambda row: _state(row, styles()), mark=True),
        GridColumn("SESS", 5, lambda row: _count(row.thing.sessions), right=True),
        GridColumn("MAX", 5, _most, right=True, from_width=150),
        GridColumn("HALF", 4, lambda row: si(row.thing.half_open), right=True),
        GridColumn("NEW/s", 5, lambda row: rate(row.thing.rates.new_sessions), right=True),
        GridColumn("IN b/s", 6, lambda row: si(8 * row.thing.rates.bytes_in), right=True),
        GridColumn("OUT b/s", 7, lambda row: si(8 * row.thing.rates.bytes_out), right=True),
        GridColumn("PKT/s", 5, _packets, right=True, from_width=150),
        GridColumn("SHARE", _BAR_CELLS, lambda row: _share(row, styles())),
        GridColumn("SESS 5 MIN", _SPARK_CELLS, lambda row: _sessions(row, styles())),
        GridColumn("b/s 5 MIN", _SPARK_CELLS, lambda row: _traffic(row, styles()), from_width=110),
        GridColumn("PATH", 5, lambda row: row.server.path if row.server else "", from_width=150),
        GridColumn(
            "RTT", 5, lambda row: round_trip(row.server.rtt_s) if row.server else "", right=True, from_width=130
        ),
        GridColumn("PROBE", 5, _probe, right=True, from_width=180),
        GridColumn("HEALTH", 18, _health, grow=3, from_width=130),
    ]


def points_shown(series: Series | None) -> int:
    """How many of its points are drawn."""
    return max(_SPARK_CELLS, round(_FIVE_MINUTES_S / series.step_s)) if series else _SPARK_CELLS


def _name(row: OverviewRow, styles: StateStyles) -> Text:
    if row.server is None:
        return Text(printable(row.service.name), "bold")
    return Text.assemble((row.branch, styles.quiet), printable(row.server.name))


def _state(row: OverviewRow, styles: StateStyles) -> Text:
    return server_state(row.server, styles) if row.server else service_state(row.service, styles)


def _count(number: int) -> str:
    return str(number) if number <= _MOST_SPELLED else si(number)


def _most(row: OverviewRow) -> str:
    if row.server is None:
        return ""
    return _count(row.server.max_sessions) if row.server.max_sessions else UNKNOWN


def _packets(row: OverviewRow) -> str:
    return si(row.thing.rates.packets_in + row.thing.rates.packets_out)


def _share(row: OverviewRow, styles: StateStyles) -> Text | str:
    if row.server is None:
        return ""
    return share_bar(row.server.share, row.server.weighted_share, _BAR_CELLS, styles)


def _sessions(row: OverviewRow, styles: StateStyles) -> Text | str:
    if row.series is None:
        return ""
    return Text(sparkline(row.series.sessions, _SPARK_CELLS, points_shown(row.series)), styles.spark_in)


def _traffic(row: OverviewRow, styles: StateStyles) -> Text | str:
    if row.series is None:
        return ""
    both = [sum(ways) for ways in zip(row.series.bytes_in, row.series.bytes_out, strict=True)]
    return Text(sparkline(both, _SPARK_CELLS, points_shown(row.series)), styles.spark_in)


def _probe(row: OverviewRow) -> str:
    if row.server is None:
        return ""
    return UNKNOWN if row.server.last_probe_s is None else age(row.server.last_probe_s)


def _health(row: OverviewRow) -> str:
    if row.server is None:
        return f"{taking_sessions(row.service)} take sessions"
    busy = "demands cookies, " if row.server.busy else ""
    flaps = f", {count(row.server.flaps, 'change')} in 5m" if row.server.flaps else ""
    return f"{busy}{row.server.health_reason}{flaps}"
