"""Processes of a run: started in a namespace on one core, measured through /proc, ended by pid."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FORWARDER_CORE = 0
LOAD_CORE = 1
FILE_LIMIT = min(262_144, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """A running program, by its pid."""

    child: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        """CPU seconds of all threads so far, user and system."""
        return cpu_s(self.child.pid)

    def rss_bytes(self) -> int:
        """Resident memory now."""
        pages = Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        """File descriptors open now."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def read_line(self, timeout_s: float) -> bytes:
        """Return the next line of the program's output; raises RuntimeError when there is none in time."""
        assert self.child.stdout
        if not select.select([self.child.stdout], [], [], timeout_s)[0]:
            raise RuntimeError(f"{self.child.args!r} did not answer within {timeout_s} s")
        if line := self.child.stdout.readline():
            return line
        raise self.ended()

    def await_udp_port(self, address: str, port: int, timeout_s: float = 20) -> None:
        """Return once a socket of the process's namespace is bound; raises RuntimeError when not in time."""
        octets = bytes(int(octet) for octet in address.split("."))
        bound = f" {octets[::-1].hex().upper()}:{port:04X} "
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise self.ended()
            if bound in Path(f"/proc/{self.child.pid}/net/udp").read_text():
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.child.args!r} did not bind UDP {address}:{port} within {timeout_s} s")

    def await_rest(self, below_share: float, for_s: float, timeout_s: float) -> None:
        """Return once the program has used less than a share of a core for so long.

        Raises RuntimeError when it does not come to rest in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            start_s, used_s = time.monotonic(), self.cpu_s()
            time.sleep(for_s)
            share = (self.cpu_s() - used_s) / (time.monotonic() - start_s)
            if share < below_share:
                return
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{self.child.args!r} still uses {share:.0%} of a core after {timeout_s} s")

    def ended(self) -> RuntimeError:
        """What to raise when the program should not have ended: the end of its log."""
        return RuntimeError(f"{self.child.args!r} ended: {self.log.read_text()[-2000:]}")


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@contextmanager
def running(
    namespace: str,
    core: int,
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    pipes: bool = False,
) -> Iterator[Process]:
    """Run a command until the block ends; errors go to a log, input and output to pipes if asked.

    Raises RuntimeError when the command ends before its block: numbers of a dead forwarder are none.
    """
    # Each of these replaces itself, so the child's pid is the program's.
    limit = f"--nofile={FILE_LIMIT}"
    inside = ["ip", "netns", "exec", namespace, "taskset", "-c", str(core), "prlimit", limit]
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [*inside, *command],
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else errors,
            stderr=errors,
            cwd=cwd,
            start_new_session=True,
        )
    process = Process(child, log)
    try:
        prefer(child.pid)
        yield process
    finally:
        ended_early = child.poll() is not None
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        if ended_early:
            raise process.ended()


def run(*command: str, stdin: str = "") -> bytes:
    """Return what a command printed when it has ended; raises RuntimeError with what it said when it failed."""
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
    return done.stdout


def prefer(pid: int) -> None:
    """Give a process and its session precedence over all others."""
    # Other work on the machine would take slices of milliseconds in the midst of a measurement. Where the kernel
    # groups processes by session, only the group's priority counts against other sessions.
    os.setpriority(os.PRIO_PROCESS, pid, -20)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text("-20")


def core_busy_s(core: int) -> float:
    """Seconds a core has worked since boot, interrupts included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq = map(int, ticks[:7])
            return (user + nice + system + irq + softirq) / TICKS_PER_S
    raise RuntimeError(f"this machine has no core {core}: the bench needs two")


def kernel_slab_bytes() -> int:
    """Memory the kernel keeps in objects (sockets, routes, ...), of the whole machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no Slab line")
