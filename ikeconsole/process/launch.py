"""Starts the process of engine and console below one that only waits for the shell.

A shell gives the terminal back to the operator when the process it started ends. The engine must be able to go on
without the terminal, so it is not that process but its child.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from ikeconsole.process.notices import OBEYED
from ikeconsole.process.terminal import Terminal

_STOPPING: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Parent:
    """The process that waits, as its child sees it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def fileno(self) -> int:
        """The file on which it hangs up when it is told to end, or is killed."""
        return self._line.fileno()

    def dismiss(self, code: int, message: str, *, reset_screen: bool) -> None:
        """Have it put the terminal in order, say something there, and end with an exit code."""
        with suppress(OSError), self._line:
            self._line.sendall(bytes([code, reset_screen]) + message.encode())


def leave_parent_waiting(terminal: Terminal) -> Parent:
    """Fork: returns in the child; the parent waits in here and leaves with SystemExit.

    To be called while the process has one thread.
    """
    for number in _STOPPING:
        # A process that carries sessions is never stopped, and nor is the one that a shell believes it to be.
        signal.signal(number, signal.SIG_IGN)
    ours, childs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        ours.close()
        return Parent(childs)
    childs.close()
    sys.exit(_wait(child, ours, terminal))


def _wait(child: int, line: socket.socket, terminal: Terminal) -> int:
    def hang_up(_number: int, _frame: object) -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_WR)

    for number in OBEYED:
        signal.signal(number, hang_up)
    told = b"".join(iter(lambda: line.recv(4096), b""))
    for number in OBEYED:
        # A terminal that does not read can hold up the rest, but not for ever.
        signal.signal(number, signal.SIG_DFL)
    if told:
        terminal.restore(screen=bool(told[1]))
        terminal.write(told[2:].decode() + "\n")
        return told[0]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code >= 0:
        return code
    terminal.restore(screen=True)
    name = signal.Signals(-code).name
    terminal.write(f"ikeconsole: engine and console were ended by {name}; `ikeconsole` starts them again\n")
    return 128 - code
