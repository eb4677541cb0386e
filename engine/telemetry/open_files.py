"""Notices that no more files can be opened: sockets of clients and of probes are files, too."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from typing import Final

from engine.telemetry.alarms import Finding
from engine.telemetry.rise import Rise
from engine.wording import grouped

QUIET_S: Final = 10.0
"""At the limit, a file can be opened at one moment and not at the next."""


class OpenFiles:
    """Tries to open a file, once a tick."""

    def __init__(self) -> None:
        self._failures = 0
        self._trouble = Rise(0, QUIET_S)
        self._number = 0

    def look(self, now_s: float) -> None:
        """Try it now."""
        try:
            os.close(os.eventfd(0, os.EFD_CLOEXEC))
        except OSError as error:
            self._number = error.errno or 0
            self._failures += 1
        self._trouble.look(self._failures, now_s)

    def findings(self) -> Iterator[Finding]:
        """What is wrong, if it could not be done lately."""
        if not self._trouble.gained:
            return
        match self._number:
            case errno.EMFILE:
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                what = f"the engine may open no more files, {grouped(limit)} is its limit"
                remedy = f"`prlimit --pid {os.getpid()} --nofile=1048576` raises it at once, LimitNOFILE= for good"
            case errno.ENFILE:
                what = "this machine can open no more files"
                remedy = "`sysctl fs.file-nr` shows how many there are: raise fs.file-max, or end what has so many"
            case number:
                what = f"the engine cannot open files ({os.strerror(number)})"
                remedy = "see how much memory this machine has left: `free`, and what the unit may have: MemoryMax="
        yield Finding(
            "out-of-files",
            f"{what}: established tunnels go on, but new clients of snat services may get no answer, real servers are "
            "not probed and sessions not saved",
            remedy,
        )
