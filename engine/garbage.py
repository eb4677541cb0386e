"""Keeps the garbage collector from stopping the forwarder: sessions hold no cycles once they end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""New objects between two looks of the collector."""
SESSIONS_AT_ONCE: Final = 5_000
"""Sessions that are taken out of the collector's sight together: a full look at them takes about 15 ms."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Have very many objects made that stay: to look at them in between takes longer than to make them."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class SparedCollector:
    """Has the collector look less often, and never again at what has lived for long."""

    def __init__(self) -> None:
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        self._spared_sessions = 0

    def spare(self, sessions: int) -> None:
        """Leave out what lives now, whenever the table has grown well beyond every earlier size."""
        if sessions >= self._spared_sessions + SESSIONS_AT_ONCE:
            self._spared_sessions = sessions
            gc.freeze()
