"""The terminal a console is shown on: output that never blocks for good, and its state given back."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
from contextlib import suppress
from typing import Final

GLANCE_MS: Final = 100
"""How long output waits for the terminal before it looks whether it was given up."""

_LEAVE_SCREEN: Final = (
    "\x1b[?2026l"  # synchronized output
    "\x1b[?2004l"  # bracketed paste
    "\x1b[?7h"  # line wrap
    "\x1b[?2048l"  # reports of a new size
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    "\x1b[<u"  # keyboard protocol
    "\x1b[?1049l"  # alternate screen
    "\x1b[?25h"  # cursor
    "\x1b[?1004l"  # focus
    "\x1b[0m"  # colours
)


class Terminal:
    """The terminal on standard output; raises OSError when made without one.

    It is opened anew, so that not blocking on it does not change it for the shell, which shares standard output.
    """

    def __init__(self) -> None:
        self._fd = _open()
        self._encoding = sys.stdout.encoding
        self._modes = termios.tcgetattr(self._fd)
        self._abandoned = threading.Event()
        self.taken = False
        """Whether a console has changed it and not changed it back."""

    def fileno(self) -> int:
        """Its file."""
        return self._fd

    def in_foreground(self) -> bool:
        """Whether this process may read it; without job control it always may."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True

    def write(self, text: str) -> None:
        """Write everything, however long that takes; drop it when the terminal is gone or abandoned."""
        left = memoryview(text.encode(self._encoding, "replace"))
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while left and not self._abandoned.is_set():
            if poll.poll(GLANCE_MS):
                try:
                    left = left[os.write(self._fd, left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    self.abandon()

    def flush(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Drop all output from now on, also what is being written."""
        self._abandoned.set()

    def gave_back(self) -> None:
        """Note that the console has changed everything back, if all that it wrote went out."""
        self.taken = self._abandoned.is_set()

    def restore(self, *, screen: bool) -> None:
        """Give it back as it was found; with `screen`, also take it out of the modes of a full-screen program."""
        with suppress(termios.error, OSError):
            termios.tcflow(self._fd, termios.TCOON)
            termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)
        if screen:
            self.write(_LEAVE_SCREEN)

    def forsake(self) -> None:
        """Let go of it for good: standard input and output read and write nothing, standard error stays in the log."""
        self.abandon()
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(nothing, fd)
        # Never closed but replaced: a thread that still draws must not meet another file under its number.
        os.dup2(nothing, self._fd, inheritable=False)
        os.close(nothing)


def _open() -> int:
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(os.ttyname(1), flags)
    except PermissionError:
        # After su the terminal belongs to somebody else, but who has it may always open it by this name.
        return os.open("/dev/tty", flags)
