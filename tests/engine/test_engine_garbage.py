"""What lives long is not looked at again and again by the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from engine.garbage import SESSIONS_AT_ONCE, SparedCollector


@pytest.fixture
def usual_collector() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("usual_collector")
def test_sessions_are_spared_as_the_table_grows_beyond_every_earlier_size() -> None:
    collector = SparedCollector()
    kept = [[number] for number in range(1000)]
    before = gc.get_freeze_count()
    collector.spare(SESSIONS_AT_ONCE)
    assert gc.get_freeze_count() >= before + len(kept)
    collector.spare(0)
    more = [[number] for number in range(1000)]
    after = gc.get_freeze_count()
    collector.spare(SESSIONS_AT_ONCE)
    assert gc.get_freeze_count() < after + len(more)
