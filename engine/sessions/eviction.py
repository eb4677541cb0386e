"""Which session gives way when the table is full.

One that sleeps on a server that is down, else the oldest half-open one, else the one that has slept for longest; an
established one never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.sessions.session import Session
    from engine.sessions.table import SessionTable


def has_dispensable(table: SessionTable, now_s: float) -> bool:
    """Whether any session may give way; none of those of which only the kernel has seen so far that they are up."""
    while table.half_open:
        oldest = next(iter(table.half_open.values()))
        table.refresh(oldest, now_s)
        if oldest.half_open:
            return True
    return bool(table.asleep)


def dispensable(table: SessionTable) -> Session:
    """The session that gives way to one just taken in: before those that reconnect, one that they reconnect for."""
    sleeper = next(iter(table.asleep.values()), None)
    if sleeper is not None and (len(table.half_open) == 1 or not sleeper.server.keeps_sessions):
        return sleeper
    return next(iter(table.half_open.values()))
