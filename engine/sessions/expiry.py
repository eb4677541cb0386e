"""Deadlines of flows and sessions, looked at only when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from math import ceil
from typing import Any

Check = Callable[[Any, float], float | None]
"""Given a thing and the time in seconds, ends the thing if that is due; says when to look again, or None."""

SMALLEST_WASTE = 64


class _Second:
    """What is to be looked at in one second; gives memory back when most of it was discarded."""

    __slots__ = ("checks", "pushes")

    def __init__(self) -> None:
        self.checks: dict[Hashable, Check] = {}
        self.pushes = 0

    def discard(self, thing: Hashable) -> None:
        del self.checks[thing]
        # A dict never shrinks by itself, and nothing is pushed to a second once its turn to fill is over.
        if self.pushes > 2 * len(self.checks) + SMALLEST_WASTE:
            self.checks = dict(self.checks)
            self.pushes = len(self.checks)


class ExpiryQueue:
    """Things by the second in which they may end.

    Traffic never touches the queue: a check that is due finds the real deadline and the thing goes back if that lies
    ahead, so each costs one look a timeout. Each thing is held once, until its check says that it is over or it is
    discarded.
    """

    def __init__(self) -> None:
        self._second_of: dict[Hashable, int] = {}
        self._seconds: dict[int, _Second] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._second_of)

    def push(self, due_s: float, thing: Hashable, check: Check) -> None:
        """Look at a thing no earlier than `due_s`, or when it was to be looked at anyway if that is sooner."""
        number = ceil(due_s)
        waiting = self._second_of.get(thing)
        if waiting is not None:
            if waiting <= number:
                return
            self._seconds[waiting].discard(thing)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second()
            heapq.heappush(self._order, number)
        second.checks[thing] = check
        second.pushes += 1
        self._second_of[thing] = number

    def discard(self, thing: Hashable) -> None:
        """Never look at a thing again."""
        number = self._second_of.pop(thing, None)
        if number is not None:
            self._seconds[number].discard(thing)

    def run(self, now_s: float, limit: int) -> bool:
        """Make the checks that are due, `limit` at most; says whether more may be waiting."""
        for _ in range(limit):
            if not self._order or self._order[0] > now_s:
                return False
            checks = self._seconds[self._order[0]].checks
            if not checks:
                del self._seconds[heapq.heappop(self._order)]
                continue
            thing, check = checks.popitem()
            del self._second_of[thing]
            again_s = check(thing, now_s)
            if again_s is not None:
                self.push(again_s, thing, check)
        return True
