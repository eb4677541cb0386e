"""Room for datagrams in sockets of processes that cannot be asked for it, and what was lost for want of it."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.namespaces import Namespace

ROOM_BYTES = 8 << 20
"""What some seconds of a test's data take, each datagram counted as the kernel does."""

_SO_RCVBUFFORCE = 33
_PIDFD_GETFD = 438
_DATAGRAMS = {socket.SOCK_DGRAM, socket.SOCK_RAW}
_INTERNET = {socket.AF_INET, socket.AF_INET6}
_COUNTERS = ("UdpRcvbufErrors", "Udp6RcvbufErrors")
_libc = ctypes.CDLL(None, use_errno=True)


def give_room(pid: int) -> None:
    """Let all sockets of a process for datagrams from the network hold more: it may have to wait for the processor."""
    process = os.pidfd_open(pid)
    try:
        for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
            # What the process closes meanwhile needs no room.
            with suppress(FileNotFoundError), _borrowed(process, entry) as held:
                if held.type in _DATAGRAMS and held.family in _INTERNET:
                    held.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM_BYTES)
    finally:
        os.close(process)


def turned_away(namespace: Namespace) -> int:
    """How many datagrams found no room in a socket of the namespace since it was made."""
    said = namespace.run("nstat", "-asz", *_COUNTERS)
    return sum(int(count) for count in re.findall(r"^\w+\s+(\d+)", said, re.MULTILINE))


@contextmanager
def _borrowed(process: int, entry: Path) -> Iterator[socket.socket]:
    """Another process's socket, as pidfd_getfd(2) lends it; FileNotFoundError where there is none."""
    if not os.readlink(entry).startswith("socket:"):
        raise FileNotFoundError(entry)
    lent = _libc.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
    if lent < 0:
        number = ctypes.get_errno()
        raise FileNotFoundError(entry) if number == errno.EBADF else OSError(number, os.strerror(number))
    with socket.socket(fileno=lent) as held:
        yield held
