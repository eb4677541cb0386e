"""Deadlines of flows, sessions and persistence records, looked at only when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Check = Callable[[float], float | None]
"""Given the time in seconds, ends its thing if that is due; says when to look again, or None."""


class ExpiryQueue:
    """A heap of the earliest times at which things may end.

    Traffic never touches the heap: a check that is due finds the real deadline and goes back if that lies ahead,
    so each thing costs one look a timeout.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Check]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due_s: float, check: Check) -> None:
        """Look at a thing no earlier than `due_s`."""
        heapq.heappush(self._heap, (due_s, next(self._order), check))

    def run(self, now_s: float, limit: int) -> bool:
        """Make the checks that are due, `limit` at most; says whether more are waiting."""
        for _ in range(limit):
            if not self._heap or self._heap[0][0] > now_s:
                return False
            _, _, check = heapq.heappop(self._heap)
            again_s = check(now_s)
            if again_s is not None:
                self.push(again_s, check)
        return bool(self._heap) and self._heap[0][0] <= now_s
