"""A counter of trouble: how much it rose lately."""

from __future__ import annotations

QUIET_S = 60.0
"""Trouble is over when the counter has not risen for so long."""


class Rise:
    """What a counter gained in the present spell of trouble; a counter that restarts gains nothing."""

    def __init__(self, total: int, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._total = total
        self._rose_s = 0.0
        self.gained = 0

    def look(self, total: int, now_s: float) -> None:
        """Take in the counter's present total."""
        if total > self._total:
            self.gained += total - self._total
            self._rose_s = now_s
        elif now_s - self._rose_s >= self._quiet_s:
            self.gained = 0
        self._total = total
