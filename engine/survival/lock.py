"""One engine at a time has a state directory: what two of them saved there would be neither's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "engine.lock"


class StateInUse(Exception):
    """Another engine has the state directory; the message says which, and what to do. `pid` is 0 if unknown."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Have a state directory to oneself, as far as one may write there; raises StateInUse.

    The kernel gives it back when this process ends, however it ends.
    """
    descriptor = _open(state_dir)
    if descriptor is None:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _read_pid(descriptor)
            raise StateInUse(
                f"another engine{f' (pid {pid})' if pid else ''} works with {state_dir}: stop it, "
                "or set engine.state_dir of this one to another directory",
                pid,
            ) from error
        # It is the lock that counts: a full disk only keeps others from reading who has it.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def running(state_dir: Path) -> int | None:
    """The process that has a state directory, 0 where it cannot be told which; None: nobody has it.

    Raises:
        OSError: this user may not look.
    """
    try:
        descriptor = os.open(state_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _open(state_dir: Path) -> int | None:
    """The lock file; None where there can be none: then nothing is saved there either."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        return os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def _read_pid(descriptor: int) -> int:
    said = os.pread(descriptor, 20, 0).strip()
    return int(said) if said.isdigit() else 0
