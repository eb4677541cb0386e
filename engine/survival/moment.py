"""One instant on several clocks, so that the next engine knows how long nobody was there."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


Instant: TypeAlias = Annotated[float, Meta(ge=-1e12, le=1e12)]
"""Seconds on some clock: a number that can be reckoned with, whatever a file says."""


class Moment(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """The engine's own clock begins anew with each engine, and the wall clock may be set; uptime counts sleep, too."""

    engine_s: Instant
    uptime_s: Instant
    wall_s: Instant
    boot: str

    @classmethod
    def now(cls, engine_s: float) -> Moment:
        """This instant, which is `engine_s` on the engine's clock."""
        return cls(engine_s, time.clock_gettime(time.CLOCK_BOOTTIME), time.time(), boot_id())

    def until_s(self, later: Moment) -> float:
        """Seconds to a later moment; after a reboot by the wall clock, but all of the time since the machine is up."""
        if self.boot == later.boot:
            return max(0.0, later.uptime_s - self.uptime_s)
        return max(later.uptime_s, later.wall_s - self.wall_s)


@cache
def boot_id() -> str:
    """What the kernel calls the time since it was started; empty where it does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
