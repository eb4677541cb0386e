"""The sessions: which client is on which server, and why."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from engine.control.records import SessionDetail, SessionPage, SessionRow, TroubleRow
from engine.sessions.session import HALF_OPEN
from engine.wording import count
from ikeconsole.render.columns import Column, printable, stacked, table
from ikeconsole.render.numbers import UNKNOWN, age, grouped, round_trip, si
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
    Column("VENDOR", lambda row: short_vendor(row), from_width=180),
    Column("ERROR", lambda row: row.error or UNKNOWN, from_width=180),
    Column("SPI OF CLIENT", lambda row: row.spi_i, from_width=140),
    Column("SPI OF SERVER", lambda row: row.spi_r, from_width=140),
]

_MEANINGS = {
    "init": "the client has asked for an IKE SA, and nothing is agreed yet",
    "cookie": "the server is busy: it demands that the client comes back with a cookie",
    "auth": "keys are agreed; both sides now prove who they are",
    "established": "the tunnel is up",
    "idle": "silent for so long that its flows ended; its SPIs still lead it back here",
    "moved": "the tunnel is up; the client goes on from another address or port",
    "closed": "it has ended",
}


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


def phase_words(row: SessionRow) -> str:
    """The phase of a session and what it means."""
    word = row.phase.lower()
    if word in HALF_OPEN and not row.spi_i:
        return f"{word}: no IKE message of it was seen; {row.server} has not shown that it knows its tunnel"
    return f"{word}: {_MEANINGS[word]}" if word in _MEANINGS else word


def short_vendor(row: SessionRow) -> str:
    """The client's product without the proof of it; - where its vendor ids do not tell."""
    return row.vendor.partition(" (")[0] or UNKNOWN


def handshake_words(detail: SessionDetail) -> str:
    """How long it took to set a session up, and what had to be sent again."""
    row, took = detail.row, "its beginning was not seen"
    if detail.handshake_s is not None:
        took = f"took {round_trip(detail.handshake_s)}"
    elif row.spi_i and row.phase.lower() in HALF_OPEN:
        took = "not over"
    senders = [("the client", detail.retransmitted_in), (row.server, detail.retransmitted_out)]
    again = " and ".join(f"{sender} sent {count(number, 'message')} again" for sender, number in senders if number)
    return f"{took}, {again}" if again else f"{took}, nothing was sent again"


def trouble_words(detail: SessionDetail, trouble: TroubleRow) -> str:
    """What went wrong last, who said so, and what it means."""
    who = "the client" if trouble.direction == "in" else detail.row.server
    meaning = f": {trouble.meaning}" if trouble.meaning else ""
    return f"{trouble.name} from {who}{meaning}"


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
