"""Connection tracking of the kernel: a table of its own, whose end drops packets that the engine never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.wording import grouped

NEAR_FULL: Final = 0.8
ENTRIES_PER_SESSION: Final = 4
"""Two flows, of each the client's side and the real server's."""

_TOPIC: Final = Topic("network", "conntrack")


@dataclass(frozen=True, slots=True)
class Conntrack:
    """The table; None: it is not loaded, or not to be seen."""

    entries: int | None
    room: int | None


def look_at_conntrack() -> Conntrack:
    """Read the counters."""
    return Conntrack(
        entries=procfs.sysctl("net/netfilter/nf_conntrack_count"),
        room=procfs.sysctl("net/netfilter/nf_conntrack_max"),
    )


def judge_conntrack(found: Conntrack, max_sessions: int) -> Iterator[Diagnosis]:
    """Whether it has room for sessions; where nothing is tracked it does not matter."""
    if found.entries is None:
        yield _TOPIC.ok("not loaded, so it drops nothing")
        return
    if not found.room:
        yield _TOPIC.ok(f"{grouped(found.entries)} entries")
        return
    used = f"{grouped(found.entries)} of {grouped(found.room)} entries are taken"
    larger = f"sysctl -w net.netfilter.nf_conntrack_max={max(2 * found.room, ENTRIES_PER_SESSION * max_sessions)}"
    remedy = "make it larger, or leave UDP 500 and 4500 out of it with notrack rules"
    if found.entries >= found.room:
        yield _TOPIC.fail(
            f"{used}: packets of new clients are dropped before the engine sees them", remedy=remedy, command=larger
        )
    elif found.entries >= NEAR_FULL * found.room:
        yield _TOPIC.warn(f"{used}: when it is full, packets of new clients are dropped", remedy=remedy, command=larger)
    elif found.entries:
        fit = (found.room - found.entries) // ENTRIES_PER_SESSION
        yield _TOPIC.ok(f"{used}: with up to {ENTRIES_PER_SESSION} for each, {grouped(fit)} sessions more fit")
    else:
        yield _TOPIC.ok(used)
