"""How long clients needed to set their tunnels up with a real server, lately."""

from __future__ import annotations

from collections import deque
from math import ceil

HANDSHAKES_KEPT = 256


class Handshakes:
    """The latest handshakes of a real server, in seconds."""

    __slots__ = ("_in_order", "_latest")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=HANDSHAKES_KEPT)
        self._in_order: list[float] | None = None
        """The same in order, once it was asked for: it is asked for more often than there are new ones."""

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, took_s: float) -> None:
        """Take note of one more."""
        self._latest.append(took_s)
        self._in_order = None

    def quantile_s(self, part: float) -> float | None:
        """What this part of them, above 0 to 1, took at most; None: there was none."""
        in_order = self._in_order = sorted(self._latest) if self._in_order is None else self._in_order
        return in_order[ceil(part * len(in_order)) - 1] if in_order else None
