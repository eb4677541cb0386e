"""Keeps the garbage collector from stopping the forwarder: sessions hold no cycles once they end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

YOUNG_OBJECTS: Final = 10_000
"""New objects between two looks of the collector, about a millisecond each."""
SESSIONS_AT_ONCE: Final = 200
"""Sessions that are taken out of the collector's sight together: fewer than come between two looks in a storm, each
with two dozen objects, so that none is looked at twice."""


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
    """Has the collector look less often, and once at what lives for long, while this is open."""

    def __init__(self, sessions: Callable[[], int]) -> None:
        """`sessions` says how many there are."""
        self._sessions = sessions
        self._spared = 0

    def __enter__(self) -> Self:
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        gc.callbacks.append(self._looked)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        gc.callbacks.remove(self._looked)

    def _looked(self, phase: str, info: dict[str, Any]) -> None:
        """Leave out what lives now, whenever the table has grown beyond every earlier size."""
        # Right after a look, so that no garbage is kept for ever.
        if phase == "stop" and self._sessions() >= self._spared + SESSIONS_AT_ONCE:
            self._spared = self._sessions()
            gc.freeze()
