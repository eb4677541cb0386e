"""What happens around a console, one thing after another: signals, the engine, the terminal."""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from enum import IntEnum
from typing import Final

OBEYED: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class Notice(IntEnum):
    """What is told besides signals; numbers that no signal has."""

    ENGINE_READY = 201
    ENGINE_ENDED = 202
    CONSOLE_LEFT = 203
    TERMINAL_LOST = 204
    """It is gone, or the process that keeps it for us is."""


class Notices:
    """A pipe that signals and threads write to: whichever thread reads learns of all, whatever the main thread does.

    Made on the main thread, once a process.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)
        self._watched: dict[int, Notice] = {}
        self._waiting: deque[int] = deque()
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in OBEYED:
            signal.signal(number, _leave_it_to_the_pipe)

    def add(self, notice: Notice) -> None:
        """Tell something; from any thread."""
        os.write(self._writing, bytes([notice]))

    def watch(self, fd: int, events: int, notice: Notice) -> None:
        """Tell something once, as soon as a file has one of these poll(2) events; hanging up always counts."""
        self._watched[fd] = notice
        self._poll.register(fd, events)

    def next(self, timeout_s: float | None = None) -> int | None:
        """Wait for what happens next: a `Notice` or an obeyed signal; None when nothing did in time."""
        while not self._waiting:
            ready = self._poll.poll(None if timeout_s is None else timeout_s * 1000)
            if not ready:
                return None
            for fd, _ in ready:
                self._take(fd)
        return self._waiting.popleft()

    def _take(self, fd: int) -> None:
        if fd == self._reading:
            # Every signal that Python handles comes through here, also those of the terminal driver.
            self._waiting += (number for number in os.read(fd, 4096) if number in OBEYED or number in _NOTICES)
        else:
            self._poll.unregister(fd)
            self._waiting.append(self._watched.pop(fd))


_NOTICES: Final = frozenset(Notice)


def _leave_it_to_the_pipe(_number: int, _frame: object) -> None:
    """Python writes a signal to the pipe only while it has a handler."""
