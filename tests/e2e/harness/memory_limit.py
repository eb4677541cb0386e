"""A control group with little memory, whose processes the kernel ends for it: version 1 or 2, as the machine has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.namespaces import MARK
from harness.waiting import eventually

_ROOT = Path("/sys/fs/cgroup")
_VERSIONS = {
    _ROOT / "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    _ROOT: ("memory.max", "memory.current"),
}
"""Where groups are made, and how their limit and what counts towards it are called."""
_FIRST = "echo 1000 > /proc/self/oom_score_adj"
"""So it is killed before others; to be spared takes a right that a container may not have."""
_EAT = "import sys, time; eaten = b'x' * int(sys.argv[1]); time.sleep(60)"


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The group."""

    directory: Path
    limit: str
    usage: str

    @property
    def under(self) -> Sequence[str]:
        """A command that starts another in the group, as the first that the kernel kills."""
        return self._join(_FIRST)

    @contextmanager
    def filled(self, size_bytes: int) -> Iterator[None]:
        """Have another process take so much memory in the group."""
        hog = subprocess.Popen([*self._join("true"), sys.executable, "-c", _EAT, str(size_bytes)])
        try:
            yield
        finally:
            hog.send_signal(signal.SIGKILL)
            hog.wait()

    def leave(self, size_bytes: int) -> None:
        """Allow so much more than is taken."""
        taken_bytes = int((self.directory / self.usage).read_text())
        (self.directory / self.limit).write_text(str(taken_bytes + size_bytes))

    def _join(self, first: str) -> Sequence[str]:
        return ("sh", "-c", f'echo $$ > {self.directory}/cgroup.procs && {first} && exec "$@"', "sh")


@contextmanager
def memory_limit() -> Iterator[MemoryLimit]:
    """A group without a limit yet; it and what is in it end with the block; skips where none can be made."""
    made = _make()
    if made is None:
        pytest.skip("no control group with a memory limit can be made here")
    try:
        yield made
    finally:
        _remove(made.directory)


def _make() -> MemoryLimit | None:
    for parent, (limit, usage) in _VERSIONS.items():
        directory = parent / f"{MARK}-{os.getpid()}"
        with suppress(OSError):
            directory.mkdir()
            if (directory / limit).exists():
                return MemoryLimit(directory, limit, usage)
            directory.rmdir()
    return None


def _remove(directory: Path) -> None:
    def removed() -> bool:
        for pid in (directory / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            directory.rmdir()
        return not directory.exists()

    eventually(removed, "nobody is in the group any more")
