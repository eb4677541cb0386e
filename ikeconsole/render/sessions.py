"""The sessions: which client is on which server, and why."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import SessionPage, SessionRow
from ikeconsole.render.columns import Column, stacked, table
from ikeconsole.render.numbers import age, grouped, si

_COLUMNS: list[Column[SessionRow]] = [
    Column("ID", lambda row: str(row.id), right=True, from_width=140),
    Column("CLIENT", lambda row: row.client, flexible=True, least=20),
    Column("SERVICE", lambda row: row.service, flexible=True, from_width=110),
    Column("SERVER", lambda row: row.server, flexible=True),
    Column("PHASE", lambda row: row.phase.lower(), least=11),
    Column("AGE", lambda row: age(row.age_s), right=True, least=6),
    Column("IDLE", lambda row: age(row.idle_s), right=True, least=5),
    Column("IN", lambda row: si(row.traffic.bytes_in), right=True, least=4),
    Column("OUT", lambda row: si(row.traffic.bytes_out), right=True, least=4),
    Column("PATH", lambda row: row.path),
    Column("WHY", lambda row: row.why, flexible=True),
    Column("SPI OF CLIENT", lambda row: row.spi_i, from_width=140),
    Column("SPI OF SERVER", lambda row: row.spi_r, from_width=140),
]


def sessions(page: SessionPage, width: int) -> RenderableType:
    """A table of the page, and which part of the whole it is."""
    if not page.rows:
        return Text(_empty(page))
    return stacked(table(_COLUMNS, page.rows, width), Text(_window(page), "dim"))


def _empty(page: SessionPage) -> str:
    if page.matched:
        return f"No session from {page.offset} on: {grouped(page.matched)} match."
    return f"No session matches, of {grouped(page.total)}." if page.total else "No session yet."


def _window(page: SessionPage) -> str:
    last = page.offset + len(page.rows)
    matching = "" if page.matched == page.total else f", {grouped(page.matched)} matching"
    text = f"{page.offset + 1} to {last} of {grouped(page.total)} sessions{matching}"
    return text if last >= page.matched else f"{text}; more with --offset {last}"
