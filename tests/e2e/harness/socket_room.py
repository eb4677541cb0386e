"""Room for datagrams in sockets of processes that cannot be asked for it, and what was lost for want of it."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import stat

from engine.net.sockets import SO_RCVBUFFORCE
from harness.namespaces import Namespace

ROOM_BYTES = 8 << 20
"""What some seconds of a test's data take, each datagram counted as the kernel does."""

_PIDFD_GETFD = 438
_DATAGRAMS = {socket.SOCK_DGRAM, socket.SOCK_RAW}
_INTERNET = {socket.AF_INET, socket.AF_INET6}
_COUNTERS = ("UdpRcvbufErrors", "Udp6RcvbufErrors")
_libc = ctypes.CDLL(None, use_errno=True)


def give_room(pid: int) -> None:
    """Let all sockets of a process for datagrams from the network hold more: it may have to wait for the processor."""
    process = os.pidfd_open(pid)
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            lent = _lent(process, int(number))
            if lent is not None:
                with lent:
                    if lent.type in _DATAGRAMS and lent.family in _INTERNET:
                        enlarge(lent)
    finally:
        os.close(process)


def enlarge(held: socket.socket) -> None:
    """Let a socket hold more than this machine lets processes ask for."""
    held.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)


def turned_away(namespace: Namespace) -> int:
    """How many datagrams found no room in a socket of the namespace since it was made."""
    said = namespace.run("nstat", "-asz", *_COUNTERS)
    return sum(int(count) for count in re.findall(r"^\w+\s+(\d+)", said, re.MULTILINE))


def _lent(process: int, number: int) -> socket.socket | None:
    """Another process's socket, as pidfd_getfd(2) lends it; None: the file is none, or was closed meanwhile."""
    file = _libc.syscall(_PIDFD_GETFD, process, number, 0)
    if file < 0:
        if ctypes.get_errno() == errno.EBADF:
            return None
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if not stat.S_ISSOCK(os.fstat(file).st_mode):
        os.close(file)
        return None
    return socket.socket(fileno=file)
