"""The sockets towards real servers: made at need, closed when idle or scarce."""

from __future__ import annotations

import errno
import select
import socket
from collections import OrderedDict
from itertools import islice

from engine.config.schema import Source
from engine.net import sockets
from engine.sessions.flow import Flow

LOOKED_AT_FOR_ROOM = 64


class Upstreams:
    """A bounded cache of connected sockets, one a flow.

    Sockets are a cache, not state: a transparent flow whose socket was closed is still served by the catch-all
    socket, an snat flow gets its port back with its client's next datagram if nobody took it meanwhile.
    """

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self.closed_for_room = 0
        self.flows: OrderedDict[int, Flow] = OrderedDict()
        """The flow of each open socket, by file descriptor."""
        self.poll = select.epoll()
        """Watches them; the pump adds the data path's other sockets."""

    def __len__(self) -> int:
        return len(self.flows)

    def open(self, flow: Flow, source: str) -> None:
        """Give a flow its socket; `source` is the snat address, empty for the route's own. Raises OSError."""
        if len(self.flows) >= self.max_open:
            self._make_room()
        if flow.service.config.source is Source.TRANSPARENT:
            sock = sockets.upstream(flow.client, flow.server.endpoint(flow.port), transparent=True)
            flow.source = flow.client
        else:
            sock = self._snat_socket(flow, (source, 0))
            flow.source = sock.getsockname()
        self.poll.register(sock, select.EPOLLIN)
        self.flows[sock.fileno()] = flow
        flow.upstream = sock
        flow.send = sock.send
        flow.receive = sock.recv_into

    def close(self, flow: Flow) -> None:
        """Take a flow's socket away."""
        if (sock := flow.upstream) is not None:
            del self.flows[sock.fileno()]
            flow.upstream = flow.send = flow.receive = None
            sock.close()

    def close_idle(self, now_s: float, idle_s: float, limit: int) -> None:
        """Close sockets of transparent flows that were silent for `idle_s`, looking at `limit` sockets."""
        for fd, flow in list(islice(self.flows.items(), limit)):
            if flow.service.config.source is Source.TRANSPARENT and now_s - flow.last_seen_s > idle_s:
                self.close(flow)
            else:
                self.flows.move_to_end(fd)

    def close_all(self) -> None:
        """Close every socket, and the epoll with them."""
        for flow in list(self.flows.values()):
            self.close(flow)
        self.poll.close()

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
        oldest = list(islice(self.flows.items(), LOOKED_AT_FOR_ROOM))
        for fd, _ in oldest:
            self.flows.move_to_end(fd)
        self.close(min((flow for _, flow in oldest), key=lambda flow: (flow.settled, flow.last_seen_s)))
        self.closed_for_room += 1
