"""One real server in full: what it carries, how it is, and what its probes found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from engine.control.status import HealthChange, ProbeRow, Series, ServerHistory, ServerStatus
from engine.forecast import emptying, leaving
from ikeconsole.render.columns import printable
from ikeconsole.render.facts import health_words, last_probe, share_words, source_use
from ikeconsole.render.numbers import UNKNOWN, age, grouped, rate, round_trip, si
from ikeconsole.render.shares import share_bar
from ikeconsole.render.states import StateStyles

T = TypeVar("T")

Labelled = tuple[str, Text]
"""A label and what stands behind it."""

CHANGES_SHOWN = 20
RUNS_SHOWN = 40
"""How many lines of like probes are shown."""
_LABEL_CELLS = 8
_BAR_CELLS = 20
_DAY_S = 86400


def server_page(server: ServerStatus, hour: Series | None, now_at: float, styles: StateStyles) -> Iterator[Labelled]:
    """What there is to know now, the most telling first; `hour`: how it went lately, `now_at`: the engine's clock."""
    if server.admin_state == "drain":
        yield "drain", Text(_draining(server, hour), styles.drain)
    yield "health", Text(health_words(server, now_at), styles.down if server.health == "down" else "")
    yield "probe", Text(last_probe(server))
    yield "sessions", Text(_sessions(server))
    yield "weight", _weight(server, styles)
    yield "new", Text(_opened(server))
    yield "setup", Text(_setup(server))
    yield "in", Text(_passing(server.rates.bytes_in, server.rates.packets_in, server.traffic.bytes_in))
    yield "out", Text(_passing(server.rates.bytes_out, server.rates.packets_out, server.traffic.bytes_out))
    if server.eased < 1:
        yield "starting", Text(f"slow start: {100 * server.eased:.0f} % of its weight counts so far", styles.notice)
    if server.agent_load is not None:
        yield "load", Text(f"{server.agent_load} of 100, its agent says")
    if server.source_use:
        yield "sources", Text(f"sessions by source address: {source_use(server)}")


def server_history(history: ServerHistory, now_at: float, styles: StateStyles) -> Iterator[Labelled]:
    """How its health went and what the probes found, the newest first, like probes being counted in one line."""
    if not history.changes:
        yield "changes", Text("its health has not changed since the engine started", styles.quiet)
    for label, change in _labelled("changes", history.changes[: -CHANGES_SHOWN - 1 : -1]):
        yield label, _change(change, now_at, styles)
    if not history.probes:
        yield "probes", Text("none yet", styles.quiet)
    runs = [list(run) for _, run in groupby(reversed(history.probes), key=lambda probe: (probe.ok, probe.reason))]
    for label, run in _labelled("probes", runs[:RUNS_SHOWN]):
        yield label, _probes(run, now_at, styles)


def labelled_lines(rows: Sequence[Labelled], styles: StateStyles) -> Table:
    """Labels with their texts beside them; long texts go on in the next line."""
    lines = Table.grid(padding=(0, 1), expand=True)
    lines.add_column(width=_LABEL_CELLS, style=styles.quiet, no_wrap=True)
    lines.add_column(ratio=1, overflow="fold")
    for label, text in rows:
        lines.add_row(label, text)
    return lines


def _labelled(label: str, things: Sequence[T]) -> Iterator[tuple[str, T]]:
    return ((label if number == 0 else "", thing) for number, thing in enumerate(things))


def _draining(server: ServerStatus, hour: Series | None) -> str:
    if not server.sessions:
        return "It is empty: nobody is hurt when it goes."
    return emptying(server.sessions, leaving(hour, server.oldest_session_s))


def _sessions(server: ServerStatus) -> str:
    most = f"at most {grouped(server.max_sessions)}" if server.max_sessions else "no limit"
    oldest = UNKNOWN if server.oldest_session_s is None else age(server.oldest_session_s)
    half_open = f"{grouped(server.half_open)} half-open"
    return f"{grouped(server.sessions)}, {half_open}   {most}   oldest {oldest}   {printable(server.path)} path"


def _weight(server: ServerStatus, styles: StateStyles) -> Text:
    bar = share_bar(server.share, server.weighted_share, _BAR_CELLS, styles)
    return Text.assemble(f"{server.weight:<5} ", bar, f" {share_words(server)}")


def _opened(server: ServerStatus) -> str:
    ended = f"{rate(server.rates.ended_sessions):>4}/s ended"
    return f"{rate(server.rates.new_sessions):>4}/s   {ended}   {grouped(server.new_sessions)} since start"


def _setup(server: ServerStatus) -> str:
    again = f"   resent: {si(server.retransmitted_in)} by clients, {si(server.retransmitted_out)} by it"
    if not server.handshakes:
        return f"no handshake was seen yet{again}"
    times = f"median {round_trip(server.handshake_median_s)}, 95 % {round_trip(server.handshake_p95_s)}"
    return f"{times} (last {grouped(server.handshakes)}){again}"


def _passing(bytes_per_s: float, packets_per_s: float, total_bytes: int) -> str:
    return f"{si(8 * bytes_per_s):>4}b/s   {si(packets_per_s):>4} packets/s   {si(total_bytes)}B since start"


def _change(change: HealthChange, now_at: float, styles: StateStyles) -> Text:
    return Text.assemble(
        f"{_when(change.at, now_at)}  ",
        _health(change.new, styles),
        f" after {age(change.after_s)} {printable(change.old)}: {printable(change.reason)}",
    )


def _probes(run: Sequence[ProbeRow], now_at: float, styles: StateStyles) -> Text:
    """Like probes, the newest first."""
    ok = run[0].ok
    trips = [probe.rtt_s for probe in run if probe.rtt_s is not None]
    took = ""
    if trips:
        least, most = round_trip(min(trips)), round_trip(max(trips))
        took = f", round trip {least}" + (f" to {most}" if most != least else "")
    since = f" since {_when(run[-1].at, now_at)}" if len(run) > 1 else ""
    return Text.assemble(
        f"{_when(run[0].at, now_at)}  ",
        ("● ok    ", styles.up) if ok else ("○ failed", styles.down),
        f" {len(run)}×{since}: {printable(run[0].reason)}{took}",
    )


def _health(name: str, styles: StateStyles) -> tuple[str, str]:
    match name:
        case "up":
            return "● up  ", styles.up
        case "down":
            return "○ down", styles.down
        case other:
            return f"· {printable(other)}", styles.unknown


def _when(at: float, now_at: float) -> str:
    """A clock time, with the date where it is not clear which day is meant."""
    pattern = "%H:%M:%S" if now_at - at < _DAY_S else "%Y-%m-%d %H:%M"
    return time.strftime(pattern, time.localtime(at))
