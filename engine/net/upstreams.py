"""What stands for clients towards real servers: guises of transparent flows, and sockets, a bounded number."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import OrderedDict
from functools import lru_cache, partial
from itertools import islice

from engine.net import sockets
from engine.net.batches import to_raw
from engine.net.errors import send_failure
from engine.net.impersonation import Guise, Impersonator
from engine.sessions.flow import Flow

LOOKED_AT_FOR_ROOM = 64

_raw_endpoint = lru_cache(maxsize=1024)(to_raw)


class Upstreams:
    """Guises of transparent flows, and a bounded cache of connected sockets: of snat flows, one each.

    A transparent flow gets a socket only where its guise does not do: for datagrams too big to leave in one piece, or
    without the privilege for raw sockets.
    Sockets are a cache, not state: a transparent flow whose socket was closed is still served by the catch-all
    socket, an snat flow gets its port back with its client's next datagram if nobody took it meanwhile.
    """

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self.closed_for_room = 0
        self.flows: OrderedDict[int, Flow] = OrderedDict()
        """The flow of each open socket, by file descriptor."""
        self.disguised: dict[bytes, Flow] = {}
        """The flows that have a guise, by its key."""
        self.poll = select.epoll()
        """Watches the sockets; the pump adds the data path's other sockets."""
        self._impersonators: dict[socket.AddressFamily, Impersonator | None] = {}

    def __len__(self) -> int:
        return len(self.flows)

    def open(self, flow: Flow, source: str) -> None:
        """Let a flow send; `source` is the snat address, empty for the route's own. Raises OSError."""
        if flow.service.is_snat:
            self._make_room()
            sock = self._snat_socket(flow, (source, 0))
            flow.source = sock.getsockname()
            self._use_socket(flow, sock)
        else:
            flow.source = flow.client
            impersonator = self._impersonator(sockets.family_of(flow.client[0]))
            if impersonator is None:
                self._open_transparent(flow)
            else:
                flow.upstream = guise = Guise(flow, _raw_endpoint(flow.server.endpoint(flow.port)))
                flow.send = partial(impersonator.send, guise)
                self.disguised[guise.key] = flow

    def close(self, flow: Flow) -> None:
        """Take a flow's guise or socket away."""
        match flow.upstream:
            case Guise() as guise:
                # Another service may have the same real server, and the same client there.
                if self.disguised.get(guise.key) is flow:
                    del self.disguised[guise.key]
            case socket.socket() as sock:
                del self.flows[sock.fileno()]
                sock.close()
        flow.upstream = flow.send = flow.receive = None

    def close_idle(self, now_s: float, idle_s: float, limit: int) -> None:
        """Close sockets of transparent flows that were silent for `idle_s`, looking at `limit` sockets."""
        for fd, flow in list(islice(self.flows.items(), limit)):
            if not flow.service.is_snat and now_s - flow.last_seen_s > idle_s:
                self.close(flow)
            else:
                self.flows.move_to_end(fd)

    def flush(self) -> None:
        """Send what flows in guise have sent."""
        for impersonator in self._impersonators.values():
            if impersonator is not None:
                impersonator.flush()

    def close_all(self) -> None:
        """Close every socket, and the epoll with them."""
        for flow in [*self.flows.values(), *self.disguised.values()]:
            self.close(flow)
        for impersonator in self._impersonators.values():
            if impersonator is not None:
                impersonator.close()
        self.poll.close()

    def _impersonator(self, family: socket.AddressFamily) -> Impersonator | None:
        if family not in self._impersonators:
            try:
                self._impersonators[family] = Impersonator(family, self._refused)
            except PermissionError:
                self._impersonators[family] = None
        return self._impersonators[family]

    def _use_socket(self, flow: Flow, sock: socket.socket) -> None:
        self.poll.register(sock, select.EPOLLIN)
        self.flows[sock.fileno()] = flow
        flow.upstream = sock
        flow.send = sock.send
        flow.receive = sock.recv_into

    def _open_transparent(self, flow: Flow) -> None:
        self._make_room()
        self._use_socket(flow, sockets.upstream(flow.client, flow.server.endpoint(flow.port), transparent=True))

    def _refused(self, flow: Flow, data: memoryview, number: int) -> None:
        """Send by a socket what is too big for a guise: the kernel fragments it. All else is counted as dropped."""
        try:
            if number != errno.EMSGSIZE or not flow.sessions:
                raise OSError(number, os.strerror(number))
            if isinstance(flow.upstream, Guise):
                self.close(flow)
                self._open_transparent(flow)
            assert flow.send is not None
            flow.send(data)
        except OSError as error:
            size, server = len(data), flow.server
            flow.service.drops[send_failure(error.errno)] += 1
            flow.packets_in -= 1
            flow.bytes_in -= size
            server.packets_in -= 1
            server.bytes_in -= size

    def _snat_socket(self, flow: Flow, fresh: tuple[str, int]) -> socket.socket:
        """A socket with the port that the flow had before, if it had one and nobody took it."""
        remote = flow.server.endpoint(flow.port)
        if flow.source:
            try:
                return sockets.upstream(flow.source, remote, transparent=False)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    raise
        return sockets.upstream(fresh, remote, transparent=False)

    def _make_room(self) -> None:
        if len(self.flows) < self.max_open:
            return
        oldest = list(islice(self.flows.items(), LOOKED_AT_FOR_ROOM))
        for fd, _ in oldest:
            self.flows.move_to_end(fd)
        self.close(min((flow for _, flow in oldest), key=lambda flow: (flow.settled, flow.last_seen_s)))
        self.closed_for_room += 1
