"""Deadlines of flows and sessions, looked at only when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import ceil
from typing import Final, Generic, Protocol, TypeVar

NEVER: Final = -1
SMALLEST_WASTE: Final = 64


class Mortal(Protocol):
    """Something that ends."""

    looked_at_s: int
    """When it is looked at next; NEVER: it is in no queue. For the queue alone to change."""

    def __hash__(self) -> int: ...


Thing = TypeVar("Thing", bound=Mortal)


class _Second(Generic[Thing]):
    """What is to be looked at in one second; gives memory back when most of it was discarded."""

    __slots__ = ("number", "pushes", "things")

    def __init__(self, number: int) -> None:
        self.number = number
        self.things: dict[Thing, None] = {}
        self.pushes = 0

    def discard(self, thing: Thing) -> None:
        del self.things[thing]
        # A dict never shrinks by itself, and nothing is pushed to a second once its turn to fill is over.
        if self.pushes > 2 * len(self.things) + SMALLEST_WASTE:
            self.things = dict(self.things)
            self.pushes = len(self.things)


class ExpiryQueue(Generic[Thing]):
    """Things of one kind by the second in which they may end.

    Traffic never touches the queue: a check that is due finds the real deadline and the thing goes back if that lies
    ahead, so each costs one look a timeout. Each thing is held once, until its check says that it is over or it is
    discarded.
    """

    def __init__(self, check: Callable[[Thing, float], float | None]) -> None:
        """`check` gets a thing and the time in seconds, ends the thing if that is due, and says when to look again."""
        self._check = check
        self._seconds: dict[int, _Second[Thing]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return sum(len(second.things) for second in self._seconds.values())

    def push(self, due_s: float, thing: Thing) -> None:
        """Look at a thing no earlier than `due_s`, or when it was to be looked at anyway if that is sooner."""
        number, waiting = ceil(due_s), thing.looked_at_s
        if waiting != NEVER:
            if waiting <= number:
                return
            self._seconds[waiting].discard(thing)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second(number)
            heapq.heappush(self._order, number)
        second.things[thing] = None
        second.pushes += 1
        # Not the number just made: the same object serves all things of a second.
        thing.looked_at_s = second.number

    def discard(self, thing: Thing) -> None:
        """Never look at a thing again."""
        if thing.looked_at_s != NEVER:
            self._seconds[thing.looked_at_s].discard(thing)
            thing.looked_at_s = NEVER

    def is_due(self, now_s: float) -> bool:
        """Whether a check may be due."""
        return bool(self._order) and self._order[0] <= now_s

    def run(self, now_s: float, limit: int) -> bool:
        """Make the checks that are due, `limit` at most; says whether more may be waiting."""
        for _ in range(limit):
            if not self.is_due(now_s):
                return False
            things = self._seconds[self._order[0]].things
            if not things:
                del self._seconds[heapq.heappop(self._order)]
                continue
            thing, _ = things.popitem()
            thing.looked_at_s = NEVER
            again_s = self._check(thing, now_s)
            if again_s is not None:
                self.push(again_s, thing)
        return True
