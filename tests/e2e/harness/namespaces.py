"""Network namespaces: made, entered, and removed with everything that runs in them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARK = "ikee2e"
"""Names are MARK-PID-NUMBER-NODE, PID being the test run's, so that a later run knows whose they are."""

TIMEOUT_S = 30
"""No command of the harness takes longer, unless it hangs."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(Exception):
    """A command did not end well; `status` is its exit status."""

    def __init__(self, argv: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"{' '.join(argv)}: exit {status}: {said}")
        self.status = status


def run(argv: Sequence[str], *, stdin: str | None = None, check: bool = True, cwd: Path | None = None) -> str:
    """A command's standard output; raises CommandFailed with its standard error."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=TIMEOUT_S, cwd=cwd, check=False)
    if check and done.returncode:
        raise CommandFailed(argv, done.returncode, done.stderr.strip() or done.stdout.strip())
    return done.stdout


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace."""

    name: str

    @classmethod
    def create(cls, name: str, sysctls: Mapping[str, str]) -> Namespace:
        """A new namespace with its loopback up and these sysctls set."""
        run(["ip", "netns", "add", name])
        made = cls(name)
        made.run("sysctl", "-qw", *(f"{key}={value}" for key, value in sysctls.items()))
        made.ip("link set lo up")
        return made

    def run(self, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        """A command's standard output, run inside; raises CommandFailed."""
        return run(["ip", "netns", "exec", self.name, *argv], stdin=stdin, check=check)

    def ip(self, *lines: str) -> None:
        """Commands for `ip`, one a line, in one go."""
        run(["ip", "-n", self.name, "-batch", "-"], stdin="\n".join(lines))

    def spawn(
        self, *argv: str, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """A process inside; its output goes to the end of `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread inside: sockets that it makes belong here."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self.name).open() as inside:
            _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def destroy(self) -> None:
        """Kill what runs inside, then remove the namespace."""
        for pid in run(["ip", "netns", "pids", self.name], check=False).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        run(["ip", "netns", "delete", self.name], check=False)


def _enter(file: int) -> None:
    if _libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def existing(prefix: str) -> list[Namespace]:
    """The machine's namespaces whose names begin so."""
    names = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line]
    return [Namespace(name) for name in names if name.startswith(prefix)]


def sweep_leftovers() -> None:
    """Remove the namespaces of test runs that are no more."""
    for namespace in existing(f"{MARK}-"):
        owner = namespace.name.split("-")[1]
        if not Path("/proc", owner).exists():
            namespace.destroy()


def end(process: subprocess.Popen[bytes], number: signal.Signals, timeout_s: float = 10) -> int:
    """Signal a process and wait for it, killing it when it will not go; its exit status."""
    process.send_signal(number)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(timeout_s)
