"""What a run of churn says: one line a moment, a table, and what did not return or grew."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, linear_regression

import msgspec

from .churn import Churn, Moment, is_empty
from .churn_maps import FLOW_TABLES
from .report import DOCS

PAGE = DOCS / "soak.md"
ROWS = 12
MIB = 1 << 20
SHOWN = ("sessions", "half_open", "flows", "records", "spis", "esp_spis", "without_socket", "sockets", "kernel_flows")


@dataclass(frozen=True, slots=True)
class Trend:
    """How something went over the second half of a run, by the straight line that fits best."""

    mean: float
    growth: float
    """In that time."""

    @property
    def share(self) -> float:
        """The growth as a part of the mean."""
        return self.growth / self.mean


def line(churn: Churn) -> str:
    """The latest moment."""
    moment = (churn.after or churn.during)[-1]
    sample = moment.sample
    sizes = ", ".join(f"{_words(name)} {size}" for name, size in msgspec.structs.asdict(sample.sizes).items())
    return (
        f"{moment.at_s:.0f} s: {moment.rss_bytes / MIB:.1f} MiB, {sample.memory_blocks} blocks, "
        f"{moment.open_files} files, {sizes}, kernel flow entries {moment.kernel_flow_entries}, "
        f"{sample.new_sessions} sessions so far, "
        f"{sample.worst_delay_ms:.1f} ms late"
    )


def results(churn: Churn) -> str:
    """The tables, what clients did, what was dropped, the trends and the verdict."""
    sample, found, begun = churn.during[-1].sample, faults(churn), _begun_in_second_half(churn)
    happened = ", ".join(f"{_words(name)} {n:,}" for name, n in msgspec.structs.asdict(churn.happened).items())
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in sample.drops.items()) or "nothing"
    forwarded = f"{sample.forwarded:,} packets, {sample.forwarded_fast:,} of them by the kernel"
    parts = [
        f"{_table(churn)}\n\n{_tunnels(churn)}",
        f"* {churn.settings.clients:,} clients, {churn.settings.minutes:g} minutes: {happened}",
        f"* forwarded: {forwarded}; dropped: {dropped}",
        f"* entries of BPF maps before, at most, after: {_maps(churn)}",
        f"* second half, resident memory in MiB: {_told(_memory(churn), MIB, 2)}",
        f"* second half, memory blocks of Python: {_told(_blocks(churn), 1, 0)}",
        f"* second half, sessions begun: {begun:,}, resident memory grew by "
        f"{_memory(churn).growth / max(begun, 1):+.0f} bytes for each",
    ]
    verdict = "; ".join(found) or (
        f"all tables were empty {churn.after[-1].at_s - churn.stopped_s:.0f} s after the last client, "
        f"{churn.after[-1].open_files} files were open, memory was flat"
    )
    return "\n".join([parts[0], "", *parts[1:], "", f"{'Failed' if found else 'Passed'}: {verdict}."])


def faults(churn: Churn) -> list[str]:
    """What did not return, what grew, and what clients suffered; empty: all is well."""
    last, most = churn.after[-1], churn.settings.grows_at_most_share
    found = []
    if not is_empty(last):
        sizes = msgspec.structs.asdict(last.sample.sizes) | {"kernel_flow_entries": last.kernel_flow_entries}
        left = {name: size for name, size in sizes.items() if size}
        told = ", ".join(f"{_words(name)} {size}" for name, size in left.items())
        found.append(f"left {last.at_s - churn.stopped_s:.0f} s after the last client: {told}")
    for name, count in last.map_entries.items():
        if name not in FLOW_TABLES and count != churn.before.map_entries.get(name):
            found.append(f"the BPF map {name} had {churn.before.map_entries.get(name)} entries, and has {count}")
    files = churn.before.open_files + churn.settings.kept_files
    if last.open_files > files:
        found.append(f"{last.open_files} open files at the end, {files} are expected")
    for name, trend in (("resident memory", _memory(churn)), ("memory blocks", _blocks(churn))):
        if trend.share > most:
            found.append(f"{name} grew by {trend.share:.1%} in the second half, at most {most:.0%} is allowed")
    happened = churn.happened
    for name, count in (("unanswered", happened.unanswered), ("lost", happened.lost)):
        if count:
            found.append(f"{count} tunnels {name}")
    if happened.misdelivered:
        found.append(f"{happened.misdelivered} datagrams misdelivered")
    found += (f"tunnel {tunnel.name}: {fault}" for tunnel in churn.tunnels for fault in tunnel.faults)
    return found


def _table(churn: Churn) -> str:
    columns = ["at, s", "MiB", "files", *map(_words, SHOWN), "new sessions/s", "latest timer, ms"]
    lines = [f"| {' | '.join(columns)} |", f"|{' ---: |' * len(columns)}"]
    step = max(1, len(churn.during) // ROWS)
    moments = [churn.before, *churn.during[step - 1 :: step], churn.after[-1]]
    for earlier, moment in zip([None, *moments], moments, strict=False):
        since_s = moment.at_s - earlier.at_s if earlier else 0
        rate = (moment.sample.new_sessions - earlier.sample.new_sessions) / since_s if earlier and since_s else 0
        cells = [
            "before" if earlier is None else "after" if moment is moments[-1] else f"{moment.at_s:.0f}",
            f"{moment.rss_bytes / MIB:.1f}",
            str(moment.open_files),
            *(f"{getattr(moment.sample.sizes, name):,}" for name in SHOWN),
            f"{rate:.0f}",
            f"{moment.sample.worst_delay_ms:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _tunnels(churn: Churn) -> str:
    lines = ["| tunnel | rekeyed | pings | unanswered | longest silence, s |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += (
        f"| {tunnel.name} | {tunnel.rekeyed} | {tunnel.pings:,} | {tunnel.unanswered} | {tunnel.silence_s:.1f} |"
        for tunnel in churn.tunnels
    )
    return "\n".join(lines)


def _maps(churn: Churn) -> str:
    before, after = churn.before.map_entries, churn.after[-1].map_entries
    most = {name: max(moment.map_entries.get(name, 0) for moment in churn.during) for name in after}
    told = (f"{name} {before.get(name, 0):,} / {most[name]:,} / {after[name]:,}" for name in sorted(after))
    return ", ".join(told) or "there is no fast path"


def _told(trend: Trend, unit: int, digits: int) -> str:
    return (
        f"{trend.mean / unit:,.{digits}f} on average, grew by {trend.growth / unit:+,.{digits}f} ({trend.share:+.2%})"
    )


def _memory(churn: Churn) -> Trend:
    return _trend(churn, [moment.rss_bytes for moment in _second_half(churn)])


def _blocks(churn: Churn) -> Trend:
    return _trend(churn, [moment.sample.memory_blocks for moment in _second_half(churn)])


def _trend(churn: Churn, values: list[int]) -> Trend:
    times_s = [moment.at_s for moment in _second_half(churn)]
    slope = linear_regression(times_s, values).slope
    return Trend(fmean(values), slope * (times_s[-1] - times_s[0]))


def _second_half(churn: Churn) -> list[Moment]:
    return churn.during[len(churn.during) // 2 :]


def _begun_in_second_half(churn: Churn) -> int:
    first, *_, last = _second_half(churn)
    return last.sample.new_sessions - first.sample.new_sessions


def _words(name: str) -> str:
    return name.replace("_", " ")
