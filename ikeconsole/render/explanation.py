"""Why a client is where it is, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from engine.control.records import Explanation, FlowRow, MessageRow, SessionDetail
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age, clock, si
from ikeconsole.render.sessions import handshake_words, phase_words, trouble_words


def explained(explanation: Explanation) -> Text:
    """One service's view of a client."""
    lines = [_heading(explanation), *_fields(_outlook(explanation), indent=2)]
    for session in explanation.sessions:
        lines.append(_session_heading(session))
        lines += _fields(_session(session), indent=4)
    return Text("\n").join(lines)


def unserved(client: str) -> str:
    """What there is to say when no service explains anything."""
    family = "IPv6" if ":" in client else "IPv4"
    return f"No service would serve {printable(client)}: none has an {family} address."


def _heading(explanation: Explanation) -> Text:
    return Text(f"{printable(explanation.client)} at {printable(explanation.service)}", "bold")


def _outlook(explanation: Explanation) -> Iterator[tuple[str, str]]:
    goes = f"to {explanation.next_server}" if explanation.next_server else "nowhere"
    yield "next", f"a new session would go {goes}: {explanation.next_reason}"
    match explanation.persistence:
        case None:
            yield "persist", "no record"
        case kept:
            lasts = "pinned" if kept.pinned else f"{age(kept.left_s)} left"
            yield "persist", f"{kept.client} → {kept.server}, {lasts}"
    if not explanation.sessions:
        yield "sessions", "none"


def _session_heading(session: SessionDetail) -> Text:
    row = session.row
    where = f"{printable(row.client)} → {printable(row.server)}"
    return Text.assemble("  ", (where, "bold"), f"  {row.phase.lower()} {age(row.age_s)}  session {row.id}")


def _session(session: SessionDetail) -> Iterator[tuple[str, str]]:
    row = session.row
    yield "phase", phase_words(row)
    if session.trouble is not None:
        yield "error", f"{clock(session.trouble.at)} {trouble_words(session, session.trouble)}"
    yield "why", row.why
    yield "client", session.vendor or "no vendor named"
    yield "setup", handshake_words(session)
    if row.spi_i:
        yield "SPIs", f"{row.spi_i} / {row.spi_r or 'none yet'}"
    if session.esp_in or session.esp_out:
        yield "ESP", f"in {' '.join(session.esp_in) or '-'}  out {' '.join(session.esp_out) or '-'}"
    for flow in session.flows:
        yield "flow", _flow(flow)
    for message in session.messages:
        yield "message", _message(message)


def _flow(flow: FlowRow) -> str:
    seen = f", seen as {flow.source}" if flow.source and flow.source != flow.client else ""
    traffic = f"{si(flow.traffic.bytes_in)}B in {si(flow.traffic.bytes_out)}B out"
    return f"{flow.client} to {flow.port}{seen}, {flow.path}, idle {age(flow.idle_s)}, {traffic}"


def _message(message: MessageRow) -> str:
    arrow = "→" if message.direction == "in" else "←"
    role = "response" if message.response else "request"
    again = ", again" if message.repeated else ""
    size = f"{message.size_bytes} bytes{again}"
    return f"{clock(message.at)} {arrow} {message.exchange} {role} {message.message_id}, {size}"


def _fields(fields: Iterator[tuple[str, str]], *, indent: int) -> Iterator[Text]:
    for name, value in fields:
        yield Text.assemble(" " * indent, (f"{name:<9}", "dim"), printable(value))
