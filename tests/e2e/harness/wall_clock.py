"""A wall clock of one process's own, which a test sets: that of the machine is everybody's."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.namespaces import run

_SOURCE = Path(__file__).with_name("wall_clock.c")
_AHEAD = struct.Struct("@l")


class WallClock:
    """All other clocks of the process go on as they are, as they do when an administrator or NTP sets this one."""

    def __init__(self, directory: Path) -> None:
        self._ahead, self._library = directory / "ahead", directory / "wall_clock.so"
        run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)])
        self.set_ahead(0)

    def set_ahead(self, seconds: int) -> None:
        """Have the process see the true time and so much; negative: it is behind."""
        # In place: the process has the file mapped.
        with self._ahead.open("r+b" if self._ahead.exists() else "wb") as file:
            file.write(_AHEAD.pack(seconds))

    @property
    def under(self) -> tuple[str, ...]:
        """The command under which a process has this clock."""
        return "env", f"LD_PRELOAD={self._library}", f"WALL_CLOCK_AHEAD={self._ahead}"
