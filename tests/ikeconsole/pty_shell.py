"""A shell with job control on a pseudo terminal, the engine that it leaves behind, and real deadlines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import trio

from engine.control.status import EngineStatus
from ikeconsole.client import connect

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin_console.py")
DEADLINE_S = 30.0

_SCRIPT = """
set -m
before=$(stty -g)
"$@"
echo "LEFT $?"
[ "$before" = "$(stty -g)" ] && echo UNCHANGED || echo CHANGED
"""

T = TypeVar("T")


def until(condition: Callable[[], T]) -> T:
    """Wait for a condition, and return what it found."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "nothing came of waiting"
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs, or is stopped."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """A process's state as in ps(1), empty when it is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent_of(pid: int) -> int:
    """The process that started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def status(control_socket: Path) -> EngineStatus:
    """What the engine says."""

    async def ask() -> EngineStatus:
        async with connect(control_socket) as client:
            return await client.status()

    return trio.run(ask)


class Shell:
    """A shell that runs one command and then says how that ended and whether its terminal is as before."""

    def __init__(self, *arguments: str, real: bool = False, controlling: bool = True, **environment: str) -> None:
        self.output = b""
        self.pid = 0
        """The process of engine and console, once shown."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [sys.executable, *(["-m", "ikeconsole"] if real else [str(STANDIN)]), *arguments]
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "-c", _SCRIPT, "bash", *command] if controlling else command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=not controlling,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment},
        )
        os.close(slave)

    def until(self, words: str) -> str:
        """Read until something was shown; returns what was shown after it so far."""
        wanted = words.encode()
        deadline_s = time.monotonic() + DEADLINE_S
        while wanted not in self.output:
            assert time.monotonic() < deadline_s, self.output
            if select.select([self._master], [], [], 0.1)[0]:
                self.output += os.read(self._master, 65536)
        return self.output.partition(wanted)[2].decode()

    def shown(self) -> str:
        """Wait until the console is shown; returns what it says of itself."""
        self.until("pid=")
        self.until("\x1b[24;1H")
        text = re.search(rb"SHOWN.*?pid=(\d+)", re.sub(rb"\s+", b" ", re.sub(rb"\x1b\[[\d;]*\w", b"", self.output)))
        assert text is not None, self.output
        self.pid = int(text[1])
        return text[0].decode()

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal as a lost SSH connection does."""
        os.close(self._master)
        self._master = -1

    def left(self) -> int:
        """Wait for the command's end and require a terminal that is as before; returns the exit code."""
        self.until("CHANGED\r\n")
        assert b"UNCHANGED" in self.output
        assert self.output.count(b"\x1b[?1049h") == 0 or self.output.rindex(b"\x1b[?1049l") > self.output.rindex(
            b"\x1b[?1049h"
        )
        found = re.search(rb"LEFT (\d+)", self.output)
        assert found is not None
        return int(found[1])

    def close(self) -> None:
        """Leave nothing behind."""
        if self.pid and alive(self.pid):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._master >= 0:
            os.close(self._master)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()


@contextmanager
def shell(*arguments: str, real: bool = False, controlling: bool = True, **environment: str) -> Iterator[Shell]:
    """A shell, and what it started, for as long as the block runs; the console is a stand-in unless `real`."""
    one = Shell(*arguments, real=real, controlling=controlling, **environment)
    try:
        yield one
    finally:
        one.close()
