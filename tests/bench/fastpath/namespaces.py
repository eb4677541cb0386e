"""Working in a network namespace, with all of this process or with a child of it."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Have this thread work in a network namespace."""
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        try:
            _enter(namespace)
            yield
        finally:
            _set_namespace(home.fileno())


@contextmanager
def working(namespace: str, core: int, work: Callable[[], None]) -> Iterator[int]:
    """Have a child process work in a namespace on a core until the block ends; its pid.

    It runs only while no other process wants the core.
    """
    child = os.fork()
    if not child:
        _work(namespace, core, work)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _work(namespace: str, core: int, work: Callable[[], None]) -> None:
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _enter(namespace)
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        # Where the kernel groups processes by session, only the group's priority counts against other sessions.
        os.setsid()
        group = Path("/proc/self/autogroup")
        if group.exists():
            group.write_text("19")
        work()
    finally:
        os._exit(1)


def _enter(namespace: str) -> None:
    with Path("/run/netns", namespace).open("rb") as file:
        _set_namespace(file.fileno())


def _set_namespace(file: int) -> None:
    if _libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
