"""The sessions: which client is on which server, and why."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import SessionPage, SessionRow
from engine.sessions.session import HALF_OPEN
from engine.wording import count
from ikeconsole.render.columns import Column, printable, stacked, table
from ikeconsole.render.numbers import age, grouped, si
from ikeconsole.render.services import SHORT_SCHEDULERS
from ikeconsole.render.states import TERMINAL, StateStyles

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
    Column("WHY", lambda row: "pinned" if row.pinned else row.why, flexible=True),
    Column("SPI OF CLIENT", lambda row: row.spi_i, from_width=140),
    Column("SPI OF SERVER", lambda row: row.spi_r, from_width=140),
]


def sessions(page: SessionPage, width: int) -> RenderableType:
    """A table of the page, and which part of the whole it is."""
    if not page.rows:
        return Text(_empty(page))
    return stacked(table(_COLUMNS, page.rows, width), Text(_window(page), "dim"))


def phase(row: SessionRow, styles: StateStyles = TERMINAL) -> Text:
    """What a session's messages and data show of it: what is being set up or has moved stands out."""
    word = row.phase.lower()
    style = {"established": styles.up, "moved": styles.notice}.get(word, styles.quiet)
    return Text(printable(word), styles.warning if word in HALF_OPEN else style)


def short_why(row: SessionRow) -> str:
    """Why a session is on its real server, in a word: pinned, source, follow, or the scheduler's short name."""
    if row.pinned:
        return "pinned"
    reason = row.why.partition(";")[0]
    kind, _, rest = reason.partition(" ")
    match kind:
        case "persistence":
            return "source"
        case "port":
            return "follow"
        case "scheduled":
            name = rest.removeprefix("by ")
            return SHORT_SCHEDULERS.get(name, name)
        case _:
            return reason


def short_spis(row: SessionRow) -> str:
    """The beginnings of both SPIs: enough to filter by."""
    return f"{row.spi_i[:8]} {row.spi_r[:8]}".rstrip()


def _empty(page: SessionPage) -> str:
    if page.matched:
        return f"No session from {page.offset} on: {grouped(page.matched)} match."
    return f"No session matches, of {grouped(page.total)}." if page.total else "No session yet."


def _window(page: SessionPage) -> str:
    last = page.offset + len(page.rows)
    matching = "" if page.matched == page.total else f", {grouped(page.matched)} matching"
    text = f"{page.offset + 1} to {last} of {count(page.total, 'session')}{matching}"
    return text if last >= page.matched else f"{text}; more with --offset {last}"
