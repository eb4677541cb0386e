"""What passed through the kernel to and from each real server, added to the server's own counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from engine.fastpath.layout import MAX_TOTALS, TOTAL
from engine.sessions.real_server import RealServer

ReadTotal = Callable[[int], list[bytes]]
"""The records of a place in the map `totals`, one for each CPU."""


class NoPlace(Exception):
    """There are more real servers than the kernel keeps counters for."""


class Totals:
    """Gives real servers their places in the map `totals`, two each, and reads them."""

    def __init__(self, read: ReadTotal) -> None:
        self._read = read
        self._places: dict[RealServer, int] = {}
        self._free = deque(range(0, MAX_TOTALS, 2))
        """Those free for longest first: flows of a server that is gone are counted until they have left the kernel."""
        self._counted: dict[int, tuple[int, int]] = {}
        """Packets and bytes of each place in use, as last read."""

    def place_of(self, server: RealServer) -> int:
        """The place of a server's traffic from clients; the next one is of its answers.

        Raises:
            NoPlace: all are taken.
        """
        place = self._places.get(server)
        if place is None:
            if not self._free:
                raise NoPlace
            place = self._places[server] = self._free.popleft()
            for one in (place, place + 1):
                self._counted[one] = self._sum(one)
        return place

    def keep(self, server: RealServer, place: int) -> bool:
        """Have a real server counted where an earlier engine counted it; False: that cannot be."""
        if self._places.get(server) == place:
            return True
        if server in self._places or place not in self._free:
            return False
        self._free.remove(place)
        self._places[server] = place
        for one in (place, place + 1):
            self._counted[one] = self._sum(one)
        return True

    def count(self, server: RealServer) -> int:
        """Add what has passed since to a server's counters; returns how many packets that were."""
        place = self._places.get(server)
        if place is None:
            return 0
        packets_in, bytes_in = self._more(place)
        packets_out, bytes_out = self._more(place + 1)
        server.packets_in += packets_in
        server.bytes_in += bytes_in
        server.packets_out += packets_out
        server.bytes_out += bytes_out
        return packets_in + packets_out

    def collect(self, in_service: Iterable[RealServer]) -> int:
        """Add what has passed since to the servers' counters; returns how many packets that were.

        Servers that are not `in_service` give their places back.
        """
        forwarded = sum(map(self.count, self._places))
        kept = set(in_service)
        for server in [server for server in self._places if server not in kept]:
            self._free.append(self._places.pop(server))
        return forwarded

    def _more(self, place: int) -> tuple[int, int]:
        packets_before, bytes_before = self._counted[place]
        packets, size_bytes = self._counted[place] = self._sum(place)
        return packets - packets_before, size_bytes - bytes_before

    def _sum(self, place: int) -> tuple[int, int]:
        each = [TOTAL.unpack_from(record) for record in self._read(place)]
        return sum(packets for packets, _ in each), sum(size_bytes for _, size_bytes in each)
