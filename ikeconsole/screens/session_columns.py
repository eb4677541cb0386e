"""The columns of the session list: at 80 cells who, where, and whether data passes; wider what it adds up to."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from engine.control.records import SessionRow
from ikeconsole.render.columns import middle_cut, printable
from ikeconsole.render.numbers import UNKNOWN, age, si
from ikeconsole.render.sessions import phase, short_spis, short_vendor, short_why
from ikeconsole.render.states import StateStyles
from ikeconsole.session_rates import SessionRate, SessionRates
from ikeconsole.widgets.grid_columns import GridColumn

SORT_NAMES = {
    "age": "age",
    "idle": "idle",
    "client": "client",
    "service": "service",
    "server": "server",
    "phase": "phase",
    "bytes_in": "bytes in",
    "bytes_out": "bytes out",
    "path": "path",
    "why": "why",
    "vendor": "vendor",
}
"""What the list can be sorted by, in the order in which the sort key goes through it."""

LARGEST_FIRST = frozenset({"bytes_in", "bytes_out"})
"""Sorts of which the end is what one looks for."""

_CLIENT, _SERVER = 21, 10


def session_columns(styles: Callable[[], StateStyles], rates: SessionRates) -> list[GridColumn[SessionRow]]:
    """The columns of the list; `styles` gives the colours of the theme in use."""

    def rate(row: SessionRow, direction: Callable[[SessionRate], float]) -> str:
        known = rates.of(row.id)
        return UNKNOWN if known is None else si(8 * direction(known))

    return [
        GridColumn("CLIENT", _CLIENT, lambda row: middle_cut(row.client, _CLIENT), grow=3, sort="client"),
        GridColumn("SERVICE", 14, lambda row: middle_cut(row.service, 14), from_width=124, sort="service"),
        GridColumn("SERVER", _SERVER, lambda row: middle_cut(row.server, _SERVER), grow=1, sort="server", mark=True),
        GridColumn("PHASE", 11, lambda row: phase(row, styles()), sort="phase", mark=True),
        GridColumn("AGE", 6, lambda row: age(row.age_s), right=True, sort="age"),
        GridColumn("IDLE", 5, lambda row: age(row.idle_s), right=True, sort="idle"),
        GridColumn("IN b/s", 6, lambda row: rate(row, lambda known: known.bytes_in), right=True),
        GridColumn("OUT b/s", 7, lambda row: rate(row, lambda known: known.bytes_out), right=True),
        GridColumn("IN", 5, lambda row: si(row.traffic.bytes_in), right=True, from_width=97, sort="bytes_in"),
        GridColumn("OUT", 5, lambda row: si(row.traffic.bytes_out), right=True, from_width=97, sort="bytes_out"),
        GridColumn("PATH", 5, lambda row: row.path, from_width=86, sort="path"),
        GridColumn("WHY", 6, lambda row: why(row, styles()), grow=1, sort="why"),
        GridColumn("VENDOR", 12, short_vendor, from_width=160, sort="vendor"),
        GridColumn("ERROR", 18, lambda row: error(row, styles()), from_width=180),
        GridColumn("SPIs", 17, short_spis, from_width=146),
    ]


def why(row: SessionRow, styles: StateStyles) -> Text:
    """Why the session is on its real server; a pin stands out."""
    return Text(printable(short_why(row)), styles.notice if row.pinned else "")


def error(row: SessionRow, styles: StateStyles) -> Text:
    """The last error that was seen in the clear."""
    return Text(printable(row.error), styles.warning) if row.error else Text(UNKNOWN, styles.quiet)
