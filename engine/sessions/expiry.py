"""Deadlines of flows, sessions and persistence records, looked at only when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import ceil
from typing import Any
from weakref import WeakKeyDictionary

Check = Callable[[Any, float], float | None]
"""Given a thing and the time in seconds, ends the thing if that is due; says when to look again, or None."""


class ExpiryQueue:
    """Things by the second in which they may end.

    Traffic never touches the queue: a check that is due finds the real deadline and the thing goes back if that lies
    ahead, so each costs one look a timeout. Things are held once and weakly: one that ends early leaves nothing
    behind, however many come and go within a timeout.
    """

    def __init__(self) -> None:
        self._second_of: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._things: dict[int, WeakKeyDictionary[Any, Check]] = {}
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return len(self._second_of)

    def push(self, due_s: float, thing: object, check: Check) -> None:
        """Look at a thing no earlier than `due_s`, or when it was to be looked at anyway if that is sooner."""
        second = ceil(due_s)
        waiting = self._second_of.get(thing)
        if waiting is not None:
            if waiting <= second:
                return
            del self._things[waiting][thing]
        things = self._things.get(second)
        if things is None:
            things = self._things[second] = WeakKeyDictionary()
            heapq.heappush(self._seconds, second)
        things[thing] = check
        self._second_of[thing] = second

    def run(self, now_s: float, limit: int) -> bool:
        """Make the checks that are due, `limit` at most; says whether more may be waiting."""
        for _ in range(limit):
            if not self._seconds or self._seconds[0] > now_s:
                return False
            try:
                thing, check = self._things[self._seconds[0]].popitem()
            except KeyError:
                del self._things[heapq.heappop(self._seconds)]
                continue
            del self._second_of[thing]
            again_s = check(thing, now_s)
            if again_s is not None:
                self.push(again_s, thing, check)
        return True
