"""A pseudo terminal with the real console on it: what that writes, byte by byte, with times."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .processes import cpu_s

PROGRAM = Path(sys.executable).with_name("ikeconsole")
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|[=>78])")


@dataclass(frozen=True, slots=True)
class Size:
    """Of a terminal, in cells."""

    columns: int
    rows: int

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows}"


class Terminal:
    """A terminal of a program that reads whatever comes at once, unless told not to."""

    def __init__(self, size: Size, command: Sequence[str], home: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
        self._output = bytearray()
        self._reads: list[tuple[int, float]] = []
        """Up to where in the output was read, and when."""
        self._news = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process of the console; where it has started an engine, that is a child of the one that was started."""
        with suppress(FileNotFoundError):
            if children := Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
                return int(children[0])
        return self._process.pid

    @property
    def size_bytes(self) -> int:
        """How much the program has written so far."""
        return len(self._output)

    @property
    def first_byte_s(self) -> float:
        """When the program first wrote something."""
        return self._reads[0][1]

    def cpu_s(self) -> float:
        """CPU seconds of the console so far."""
        return cpu_s(self.pid)

    def press(self, keys: str) -> float:
        """Press keys; returns when."""
        pressed_s = time.monotonic()
        os.write(self._master, keys.encode())
        return pressed_s

    def shown(self, words: str, *, since: int = 0, timeout_s: float = 20) -> float:
        """When words had been written, after the first `since` bytes; raises RuntimeError when not in time."""
        wanted, deadline_s = words.encode(), time.monotonic() + timeout_s
        for number in count():
            with self._news:
                if not self._news.wait_for(lambda: len(self._reads) > number, deadline_s - time.monotonic()):  # noqa: B023
                    raise RuntimeError(
                        f"the console did not show {words!r} within {timeout_s} s: {self.text(since)[-2000:]}"
                    )
                end, at_s = self._reads[number]
                if end > since and wanted in _ESCAPES.sub(b"", self._output[since:end]):
                    return at_s
        raise AssertionError

    def text(self, since: int = 0) -> str:
        """What the program has written, without what is no text, after the first `since` bytes."""
        return _ESCAPES.sub(b"", self._output[since:]).decode(errors="replace")

    def pause(self) -> None:
        """Read no more for now, as after Ctrl+S."""
        self._reading.clear()

    def resume(self) -> None:
        """Read again."""
        self._reading.set()

    def close(self) -> None:
        """End the console, with the engine that it has started, and hang up."""
        for pid in {self.pid, self._process.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self.resume()
        self._reader.join(5)
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # how the end shows
            while self._reading.wait() and (data := os.read(self._master, 1 << 16)):
                at_s = time.monotonic()
                with self._news:
                    self._output += data
                    self._reads.append((len(self._output), at_s))
                    self._news.notify_all()


@contextmanager
def console(size: Size, home: Path, *arguments: str, prefix: Sequence[str] = ()) -> Iterator[Terminal]:
    """The installed console on a terminal of its own until the block ends; `prefix` is what it is started by."""
    terminal = Terminal(size, [*prefix, str(PROGRAM), *arguments], home)
    try:
        yield terminal
    finally:
        terminal.close()
