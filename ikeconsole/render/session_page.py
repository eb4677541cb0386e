"""One session in full: why it is where it is, what it consists of, what passed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from engine.control.records import Explanation, FlowRow, MessageRow, PersistenceRow, SessionDetail, SessionRow
from engine.sessions.session import HALF_OPEN
from ikeconsole.render.columns import middle_cut, printable
from ikeconsole.render.numbers import UNKNOWN, age, si
from ikeconsole.render.sessions import handshake_words, phase, phase_words, trouble_words
from ikeconsole.render.states import StateStyles
from ikeconsole.session_rates import SessionRate

OTHERS_SHOWN = 3
_CLIENT_PORTS = {"ike": "500", "nat-t": "4500"}
"""What a client sends from where no NAT is in between (RFC 7296 section 2.23)."""
_LABEL_CELLS, _ADDRESS_CELLS = 8, 27
_SPIS_SHOWN = 3


def session_facts(
    detail: SessionDetail, outlook: Explanation | None, rate: SessionRate | None, now_at: float, styles: StateStyles
) -> Table:
    """Everything but the messages, each fact behind its name; `now_at`: when this was so."""
    row = detail.row
    facts = _facts(styles)
    facts.add_row("phase", _plain(phase_words(row)))
    if detail.trouble is not None:
        style = styles.warning if row.phase.lower() in HALF_OPEN else ""
        told = f"{_clock(detail.trouble.at)} {trouble_words(detail, detail.trouble)}"
        facts.add_row("error", Text(printable(told), style))
    facts.add_row("why", _plain(f"{row.why}, since {_clock(now_at - row.age_s)}"))
    if outlook is not None:
        facts.add_row("now", _next(outlook, row, styles))
    facts.add_row("client", _plain(_client(detail)))
    facts.add_row("setup", _plain(handshake_words(detail)))
    facts.add_row("persist", _persistence(detail.persistence, row, styles))
    facts.add_row("SPIs", _plain(f"{row.spi_i} / {row.spi_r or 'none yet'}" if row.spi_i else "none seen yet"))
    if detail.esp_in or detail.esp_out:
        facts.add_row("ESP", _plain(f"in {_spis(detail.esp_in)}  out {_spis(detail.esp_out)}"))
    facts.add_row("data", _plain(_data(row, rate)))
    facts.add_row("flows", _flows(detail.flows) if detail.flows else Text("none", styles.quiet))
    if sources := [f"{flow.source} for {flow.port}" for flow in detail.flows if flow.source not in ("", flow.client)]:
        facts.add_row("seen as", _plain(", ".join(sources)))
    if others := _others(outlook, row):
        facts.add_row("beside", session_lines(others, styles))
    return facts


def session_messages(messages: Sequence[MessageRow], styles: StateStyles) -> Table:
    """The latest IKE messages, the oldest first."""
    facts = _facts(styles)
    if not messages:
        facts.add_row("messages", Text("none seen", styles.quiet))
        return facts
    lines = Table.grid(padding=(0, 1))
    for right in (False, False, False, False, True, False):
        lines.add_column(no_wrap=True, justify="right" if right else "left")
    for message in messages:
        inward = message.direction == "in"
        lines.add_row(
            _clock(message.at),
            Text("→", styles.spark_in) if inward else Text("←", styles.spark_out),
            _plain(message.exchange),
            Text(f"{'answer' if message.response else 'request'} {message.message_id}", styles.quiet),
            f"{message.size_bytes} bytes",
            Text("again" if message.repeated else "", styles.warning),
        )
    facts.add_row("messages", lines)
    return facts


def session_end(ago_s: float | None, told: str, successors: Sequence[SessionRow], styles: StateStyles) -> Table:
    """What there is to say of a session that is no more; `ago_s`: how long ago it was last seen, if it ever was."""
    facts = _facts(styles)
    known = "Nothing else is known of it." if ago_s is None else f"What follows was so {age(ago_s)} ago."
    facts.add_row("ended", Text(f"This session has ended. {known}", styles.warning))
    if told:
        facts.add_row("event", _plain(told))
    if successors:
        facts.add_row("now", session_lines(successors, styles))
    elif ago_s is not None:
        facts.add_row("now", _plain("the client has no other session"))
    return facts


def session_lines(rows: Sequence[SessionRow], styles: StateStyles) -> Table:
    """A few sessions, one a line, the youngest first."""
    lines = Table.grid(padding=(0, 1))
    for row in sorted(rows, key=lambda row: row.age_s)[:OTHERS_SHOWN]:
        where = f"{middle_cut(row.client, _ADDRESS_CELLS)} → {row.server}"
        lines.add_row(_plain(where), phase(row, styles), f"{age(row.age_s)} old")
    if len(rows) > OTHERS_SHOWN:
        lines.add_row(Text(f"and {len(rows) - OTHERS_SHOWN} more", styles.quiet))
    return lines


def _others(outlook: Explanation | None, row: SessionRow) -> list[SessionRow]:
    return [other.row for other in outlook.sessions if other.row.id != row.id] if outlook else []


def _next(outlook: Explanation, row: SessionRow, styles: StateStyles) -> Text:
    if not outlook.next_server:
        return Text(f"a new session would find no server: {printable(outlook.next_reason)}", styles.warning)
    where = "come here too" if outlook.next_server == row.server else f"go to {outlook.next_server}"
    return _plain(f"a new session would {where}: {outlook.next_reason}")


def _client(detail: SessionDetail) -> str:
    ports = {flow.port: flow.client.rpartition(":")[2] for flow in detail.flows}
    translated = any(port != _CLIENT_PORTS.get(kind) for kind, port in ports.items())
    return (detail.vendor or "no vendor named") + (", behind NAT" if translated else "")


def _persistence(kept: PersistenceRow | None, row: SessionRow, styles: StateStyles) -> Text:
    if kept is None:
        return Text("no record: a new session is scheduled", styles.quiet)
    where = printable(f"{kept.client} → {kept.server}")
    if kept.pinned:
        return Text.assemble((f"{where}, pinned by the operator", styles.notice))
    return Text(f"{where}, {age(kept.left_s)} left" + ("" if kept.server == row.server else ", not where it is now"))


def _data(row: SessionRow, rate: SessionRate | None) -> str:
    speeds = (UNKNOWN, UNKNOWN) if rate is None else (f"{si(8 * rate.bytes_in)}b/s", f"{si(8 * rate.bytes_out)}b/s")
    return (
        f"in {si(row.traffic.bytes_in)}B ({speeds[0]})  out {si(row.traffic.bytes_out)}B ({speeds[1]})  "
        f"{row.path} path  idle {age(row.idle_s)}"
    )


def _flows(flows: Sequence[FlowRow]) -> Table:
    lines = Table.grid(padding=(0, 1))
    for _ in range(3):
        lines.add_column(no_wrap=True)
    for _ in range(3):
        lines.add_column(no_wrap=True, justify="right")
    for flow in flows:
        lines.add_row(
            _plain(flow.port),
            _plain(middle_cut(flow.client, _ADDRESS_CELLS)),
            _plain(flow.path if flow.proven or flow.port == "ike" else "unproven"),
            f"idle {age(flow.idle_s)}",
            f"{si(flow.traffic.bytes_in)}B in",
            f"{si(flow.traffic.bytes_out)}B out",
        )
    return lines


def _spis(spis: Sequence[str]) -> str:
    return " ".join(spis[:_SPIS_SHOWN]) or "none seen"


def _facts(styles: StateStyles) -> Table:
    facts = Table.grid(padding=(0, 1), expand=True)
    facts.add_column(width=_LABEL_CELLS, style=styles.quiet, no_wrap=True)
    facts.add_column(ratio=1, overflow="fold")
    return facts


def _plain(text: str) -> Text:
    return Text(printable(text))


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
