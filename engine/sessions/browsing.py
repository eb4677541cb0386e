"""The session table in order, worked out in steps so that the forwarder keeps its turn."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from operator import attrgetter
from typing import Any

from engine.sessions.query import BadQuery, Filter, address_key, host_key, path, slices, vendor_of
from engine.sessions.session import Session

ORDERS_KEPT = 4
PIECE = 4_000
"""About how many sessions are merged in one step: they come sorted in slices, which is quicker than sorting."""

SortKey = Callable[[Session], Any]


class Order:
    """Which sessions met a condition, in order, at a moment.

    It holds no sessions, only numbers: one that ends is not kept alive.
    """

    def __init__(self, at_s: float, ended: int) -> None:
        self.at_s = at_s
        self.ended = ended
        """How many sessions of the table had ended."""
        self._numbers = array("q")
        """Of the sessions found, ascending."""
        self._places = array("q")
        """Where in `_numbers` the first session is, the second, ..."""

    def __len__(self) -> int:
        return len(self._places)

    def arrange(self, sessions: list[Session], condition: Filter, sort: str, descending: bool) -> Iterator[None]:
        """Find and sort; each step takes a few milliseconds at most.

        `sessions` come by number, the lowest first. Of those that sort alike the lowest number comes first, either way.
        The slices are sorted each by itself; then all are cut at the same keys, and merged piece by piece.

        Raises:
            BadQuery: there is no such sort.
        """
        key_of = sort_key(sort)
        keys: list[Any] = []
        runs: list[list[int]] = []
        for part in slices(sessions):
            found = condition.among(part, self.at_s)
            places = range(len(keys), len(keys) + len(found))
            keys += [key_of(session) for session in found]
            self._numbers.fromlist([session.number for session in found])
            # Backwards here and all turned round at the end: equal ones have the lowest number first again.
            runs.append(sorted(reversed(places) if descending else places, key=keys.__getitem__))
            yield
        if descending:
            runs.reverse()
        begin = [0] * len(runs)
        for bound, times in Counter(_bounds(keys)).items():
            begin = self._merge(runs, begin, [bisect_left(run, bound, key=keys.__getitem__) for run in runs], keys)
            yield
            if times > 1:
                # Very many sort alike: they are in order.
                begin = self._append(runs, begin, [bisect_right(run, bound, key=keys.__getitem__) for run in runs])
                yield
        self._merge(runs, begin, [len(run) for run in runs], keys)
        if descending:
            self._places.reverse()

    def window(self, offset: int, limit: int) -> list[int]:
        """The numbers of the sessions at some places."""
        return [self._numbers[place] for place in self._places[offset : offset + limit]]

    def leave_out(self, numbers: Collection[int], ended: int) -> None:
        """Take sessions out that have ended; `ended`: how many of the table have, with these."""
        self.ended = ended
        gone = set()
        for number in numbers:
            place = bisect_left(self._numbers, number)
            if place < len(self._numbers) and self._numbers[place] == number:
                gone.add(place)
        if gone:
            self._places = array("q", [place for place in self._places if place not in gone])

    def _merge(self, runs: list[list[int]], begin: list[int], end: list[int], keys: list[Any]) -> list[int]:
        piece = [place for run, start, stop in zip(runs, begin, end, strict=True) for place in run[start:stop]]
        piece.sort(key=keys.__getitem__)
        self._places.fromlist(piece)
        return end

    def _append(self, runs: list[list[int]], begin: list[int], end: list[int]) -> list[int]:
        for run, start, stop in zip(runs, begin, end, strict=True):
            self._places.fromlist(run[start:stop])
        return end


class Orders:
    """The latest few orders by what was asked for."""

    def __init__(self) -> None:
        self._orders: OrderedDict[Hashable, Order] = OrderedDict()

    def get(self, question: Hashable, not_before_s: float) -> Order | None:
        """The order of a question, unless it is older than that."""
        order = self._orders.get(question)
        return order if order is not None and order.at_s >= not_before_s else None

    def put(self, question: Hashable, order: Order) -> None:
        """Keep an order; the oldest one gives way."""
        self._orders.pop(question, None)
        if len(self._orders) >= ORDERS_KEPT:
            self._orders.popitem(last=False)
        self._orders[question] = order


def sort_key(sort: str) -> SortKey:
    """What a session is sorted by; raises BadQuery."""
    try:
        return _KEYS[sort]
    except KeyError:
        raise BadQuery(f"sessions cannot be sorted by {sort!r}: write one of {', '.join(SORTS)}") from None


def _bounds(keys: list[Any]) -> list[Any]:
    """Keys that cut all of them into pieces of about one size."""
    pieces = len(keys) // PIECE + 1
    sample = sorted(keys[:: PIECE // 16])
    return [sample[len(sample) * number // pieces] for number in range(1, pieces)]


def _shown_client(session: Session) -> str:
    """The address that a list shows."""
    place = session.whereabouts
    if place is not None and place[0] != session.host:
        return address_key(place[0])
    return session.host_key or host_key(session)


def _passed(counter: str) -> SortKey:
    ended, of_flow = attrgetter(f"ended_{counter}"), attrgetter(counter)

    def key(session: Session) -> float:
        # As a float, of which sorting is fastest.
        passed = float(ended(session))
        for flow in session.flows:
            if flow.owner is session:
                passed += of_flow(flow)
        return passed

    return key


_KEYS: dict[str, SortKey] = {
    "age": lambda session: -session.created_s,
    "idle": lambda session: -session.last_activity_s(),
    "client": _shown_client,
    "server": lambda session: session.server.config.name,
    "service": lambda session: session.service.config.name,
    "phase": lambda session: session.phase.value,
    "path": path,
    "vendor": vendor_of,
    "why": attrgetter("why"),
    "spi": lambda session: session.spis[-1][0] if session.spis else 0,
    "packets_in": _passed("packets_in"),
    "packets_out": _passed("packets_out"),
    "bytes_in": _passed("bytes_in"),
    "bytes_out": _passed("bytes_out"),
}

SORTS = tuple(_KEYS)
