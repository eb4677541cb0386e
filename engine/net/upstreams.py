"""What stands for clients towards real servers: guises of transparent flows, and sockets, a bounded number."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import cycle, islice
from random import SystemRandom

from engine.net import sockets
from engine.net.batches import family_of, to_raw
from engine.net.errors import send_failure
from engine.net.impersonation import Guise, Impersonator
from engine.sessions.flow import Flow

LOOKED_AT_FOR_ROOM = 64
PORTS_TRIED = 64
"""Before a flow gets a socket, whose port the kernel chooses."""

_raw_endpoint = lru_cache(maxsize=1024)(to_raw)


class Upstreams:
    """Guises of flows, and a bounded cache of connected sockets for those that cannot have one.

    A flow gets a socket where its guise does not do: for datagrams too big to leave in one piece, without the privilege
    for raw sockets, and in snat mode where nobody brings the answers to a guise or no port is spare.
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
        self._spare_ports = range(0)
        self._next_ports: Iterator[int] = iter(())
        self._spare_hosts: dict[str, bytes] = {}
        """The snat addresses at which guises get their answers, and how the kernel writes them."""
        self._answering: frozenset[bytes] = frozenset()
        """The raw addresses of real servers from which they get them."""

    def __len__(self) -> int:
        return len(self.flows)

    def open(self, flow: Flow, source: str) -> None:
        """Let a flow send; `source` is the snat address, empty for the route's own. Raises OSError."""
        server = _raw_endpoint(flow.server.endpoint(flow.port))
        raw_source: bytes | None
        if not flow.service.is_snat:
            flow.source, raw_source = flow.client, flow.peer
        else:
            raw_source = self._spare_source(flow, server, source) if self._spare_ports else None
        if raw_source is None or not self._disguise(flow, server, raw_source):
            self._open_socket(flow, source)

    def resume(self, flow: Flow, spare_ports: range) -> bool:
        """Let an snat flow send from where it did under an earlier engine, which gave `spare_ports` to guises.

        Guises hear nothing until they are answered or given sockets. False: it has another port now. Raises OSError.
        """
        source = flow.source
        assert source is not None
        server = _raw_endpoint(flow.server.endpoint(flow.port))
        if source[1] not in spare_ports or not self._disguise(flow, server, to_raw(source)):
            self._open_socket(flow, source[0])
        return flow.source == source

    def spare(self, hosts: Iterable[str], endpoints: Iterable[tuple[str, int]], ports: range) -> None:
        """Let snat flows from these addresses to these real servers go without sockets, with ports that no socket gets.

        Flows that have gone so before go on.
        """
        self._answering = frozenset(map(to_raw, endpoints))
        self._spare_hosts = {host: to_raw((host, 0)) for host in hosts} if ports else {}
        if ports != self._spare_ports:
            self._spare_ports = ports
            # So that nobody outside can tell which port is next.
            self._next_ports = cycle(SystemRandom().sample(ports, len(ports)))

    def give_socket(self, flow: Flow) -> None:
        """Let a flow in guise send by a socket with the same address and port; raises OSError."""
        guise = flow.upstream
        if not isinstance(guise, Guise) or guise.socket is not None:
            return
        assert flow.source is not None
        self._make_room()
        remote, is_transparent = flow.server.endpoint(flow.port), not flow.service.is_snat
        sock = sockets.upstream(flow.source, remote, transparent=is_transparent)
        self._use(flow, sock)
        guise.socket = sock

    def close(self, flow: Flow) -> None:
        """Take a flow's guise or socket away."""
        match flow.upstream:
            case Guise() as guise:
                # Another service may have the same real server, and the same client there.
                if self.disguised.get(guise.key) is flow:
                    del self.disguised[guise.key]
                if guise.socket is not None:
                    self._give_back(guise.socket)
            case socket.socket() as sock:
                self._give_back(sock)
        flow.upstream = flow.receive = None

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

    def _spare_source(self, flow: Flow, server: bytes, host: str) -> bytes | None:
        """Find an address and port that nobody has at the flow's real server; None: there is none.

        A flow that had a port before has it again, unless somebody else does.
        """
        if server not in self._answering:
            return None
        if flow.source is not None:
            if flow.source[0] not in self._spare_hosts or flow.source[1] not in self._spare_ports:
                return None
            raw_source = to_raw(flow.source)
            if server + raw_source not in self.disguised:
                return raw_source
            flow.source = None
        raw_host = self._spare_hosts.get(host)
        if raw_host is None:
            return None
        for port in islice(self._next_ports, PORTS_TRIED):
            raw_source = raw_host[:2] + port.to_bytes(2) + raw_host[4:]
            if server + raw_source not in self.disguised:
                flow.source = (host, port)
                return raw_source
        return None

    def _disguise(self, flow: Flow, server: bytes, raw_source: bytes) -> bool:
        """Give a flow a guise towards a real server's raw address; False: this process may not."""
        impersonator = self._impersonator(family_of(server))
        if impersonator is None:
            return False
        flow.upstream = guise = Guise(flow, server, raw_source, impersonator)
        self.disguised[guise.key] = flow
        return True

    def _open_socket(self, flow: Flow, source: str) -> None:
        self._make_room()
        is_snat = flow.service.is_snat
        if is_snat:
            sock = self._snat_socket(flow, (source, 0))
        else:
            sock = sockets.upstream(flow.client, flow.server.endpoint(flow.port), transparent=True)
        self._use(flow, sock)
        flow.upstream = sock
        if is_snat:
            flow.source = sock.getsockname()

    def _use(self, flow: Flow, sock: socket.socket) -> None:
        try:
            self.poll.register(sock, select.EPOLLIN)
        except OSError:
            # Of what the kernel does not watch, no answer would ever be read (epoll(7), max_user_watches).
            sock.close()
            raise
        self.flows[sock.fileno()] = flow
        flow.receive = sock.recv_into

    def _give_back(self, sock: socket.socket) -> None:
        del self.flows[sock.fileno()]
        sock.close()

    def _refused(self, flow: Flow, data: memoryview, number: int) -> None:
        """Send by a socket what is too big for a guise: the kernel fragments it. All else is counted as dropped."""
        try:
            if number != errno.EMSGSIZE or not flow.sessions:
                raise OSError(number, os.strerror(number))
            self.give_socket(flow)
            assert flow.upstream is not None
            flow.upstream.send(data)
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
