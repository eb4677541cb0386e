"""The sockets towards real servers: made at need, closed when idle or scarce."""

from __future__ import annotations

import errno
import select
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from engine.config.schema import Source
from engine.net import sockets
from engine.sessions.flow import Flow

READY_AT_ONCE = 512
FEW_READY = 16
DRAINED_FROM_ONE = 32
LOOKED_AT_FOR_ROOM = 64

Receive = Callable[[Flow, int, float], None]
"""Takes a flow, the size of the datagram in the shared buffer, and the time."""


class Upstreams:
    """A bounded cache of connected sockets, one a flow, watched through one epoll of their own.

    Sockets are a cache, not state: a transparent flow whose socket was closed is still served by the catch-all
    socket, an snat flow gets its port back with its client's next datagram if nobody took it meanwhile.
    """

    def __init__(self, max_open: int, buffer: bytearray, receive: Receive) -> None:
        self.max_open = max_open
        self.closed_for_room = 0
        self._receive = receive
        self._buffer = buffer
        self._epoll = select.epoll()
        self._by_fd: OrderedDict[int, Flow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_fd)

    def fileno(self) -> int:
        """Becomes readable when any socket has something."""
        return self._epoll.fileno()

    def open(self, flow: Flow, source: str) -> None:
        """Give a flow its socket; `source` is the snat address, empty for the route's own. Raises OSError."""
        if len(self._by_fd) >= self.max_open:
            self._make_room()
        transparent = flow.service.config.source is Source.TRANSPARENT
        remote = flow.server.endpoint(flow.port)
        if transparent:
            sock = sockets.upstream(flow.client, remote, transparent=True)
        elif flow.source:
            try:
                sock = sockets.upstream(flow.source, remote, transparent=False)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    raise
                sock = sockets.upstream((source, 0), remote, transparent=False)
        else:
            sock = sockets.upstream((source, 0), remote, transparent=False)
        self._epoll.register(sock, select.EPOLLIN)
        self._by_fd[sock.fileno()] = flow
        flow.source = sock.getsockname()
        flow.upstream = sock
        flow.send = sock.send

    def close(self, flow: Flow) -> None:
        """Take a flow's socket away."""
        if (sock := flow.upstream) is not None:
            del self._by_fd[sock.fileno()]
            flow.upstream = flow.send = None
            sock.close()

    def drain(self, now_s: float) -> None:
        """Hand on what has arrived, a bounded amount, fairly between the sockets."""
        buffer, by_fd, receive = self._buffer, self._by_fd, self._receive
        ready = self._epoll.poll(0, READY_AT_ONCE)
        # Asking a socket until it is empty costs a failing call each: worth it only when few are busy.
        repeats = DRAINED_FROM_ONE if len(ready) <= FEW_READY else 1
        for fd, _ in ready:
            flow = by_fd.get(fd)
            if flow is None or flow.upstream is None:
                continue
            receive_into = flow.upstream.recv_into
            for _ in range(repeats):
                try:
                    size = receive_into(buffer)
                except BlockingIOError:
                    break
                except OSError as error:
                    note_refusal(flow, error)
                    break
                receive(flow, size, now_s)

    def close_idle(self, now_s: float, idle_s: float, limit: int) -> None:
        """Close sockets of transparent flows that were silent for `idle_s`, looking at `limit` sockets."""
        for flow in self._oldest(limit):
            if flow.service.config.source is Source.TRANSPARENT and now_s - flow.last_seen_s > idle_s:
                self.close(flow)
            else:
                self._to_back(flow)

    def close_all(self) -> None:
        """Close every socket."""
        for flow in list(self._by_fd.values()):
            self.close(flow)
        with suppress(OSError):
            self._epoll.close()

    def _make_room(self) -> None:
        candidates = self._oldest(LOOKED_AT_FOR_ROOM)
        idlest = min(candidates, key=lambda flow: flow.last_seen_s)
        for flow in candidates:
            self._to_back(flow)
        self.close(idlest)
        self.closed_for_room += 1

    def _oldest(self, limit: int) -> list[Flow]:
        return list(islice(self._by_fd.values(), limit))

    def _to_back(self, flow: Flow) -> None:
        if flow.upstream is not None:
            self._by_fd.move_to_end(flow.upstream.fileno())


def note_refusal(flow: Flow, error: OSError) -> None:
    """Count an error that the network reported for a flow: ICMP errors arrive so on connected sockets."""
    flow.service.drops[send_failure(error)] += 1


def send_failure(error: OSError) -> str:
    """The reason that a failed send or an ICMP error is counted by."""
    match error.errno:
        case errno.ECONNREFUSED:
            return "server-refused"
        case errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EHOSTDOWN | errno.ENETDOWN:
            return "unreachable"
        case errno.EAGAIN | errno.ENOBUFS:
            return "send-buffer-full"
        case errno.EMSGSIZE:
            return "too-big"
        case errno.EMFILE | errno.ENFILE:
            return "out-of-files"
        case errno.EADDRNOTAVAIL | errno.EADDRINUSE:
            return "no-source-port"
        case errno.EPERM | errno.EACCES:
            return "not-permitted"
        case _:
            return errno.errorcode.get(error.errno or 0, "unknown-error").lower()
