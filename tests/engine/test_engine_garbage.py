"""What lives long is not looked at again and again by the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from engine.garbage import SESSIONS_AT_ONCE, SparedCollector


@pytest.fixture
def usual_collector() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


class Cycle:
    """Garbage once nobody else holds it."""

    def __init__(self) -> None:
        self.itself = self


def looked_at(things: list[list[int]]) -> int:
    """How many of them the collector still looks at."""
    seen = set(map(id, gc.get_objects()))
    return sum(id(thing) in seen for thing in things)


@pytest.mark.usefixtures("usual_collector")
def test_sessions_are_spared_as_the_table_grows_beyond_every_earlier_size() -> None:
    sessions = SESSIONS_AT_ONCE
    with SparedCollector(lambda: sessions):
        kept = [[number] for number in range(1000)]
        assert looked_at(kept) == 1000
        gc.collect(0)
        assert looked_at(kept) == 0
        more = [[number] for number in range(1000)]
        sessions = 0
        gc.collect(0)
        sessions = 2 * SESSIONS_AT_ONCE - 1
        gc.collect(0)
        assert looked_at(more) == 1000
    sessions = 3 * SESSIONS_AT_ONCE
    gc.collect(0)
    assert looked_at(more) == 1000


@pytest.mark.usefixtures("usual_collector")
def test_garbage_is_collected_all_the_same() -> None:
    """Also what became garbage just before the sessions of its time were spared."""
    with SparedCollector(lambda: SESSIONS_AT_ONCE):
        gone = weakref.ref(Cycle())
        gc.collect(0)
        assert gone() is None
