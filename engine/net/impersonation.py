"""Datagrams that leave under addresses that no socket has: all flows in guise share one raw socket.

A socket for each flow costs the kernel more than forwarding a whole IKE handshake does, and one system call a datagram
where a batch needs one for many.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from engine.net import sockets
from engine.net.batches import LAST_SLOT, NAME_BYTES, SLOT_BYTES, SLOTS, Sender, Slots, raw_bytes
from engine.sessions.flow import Flow, Port

HOP_LIMIT: Final = 64
UDP: Final = 17
UDP_HEADER_BYTES: Final = 8
SMALLEST_IPV6_MTU_BYTES: Final = 1280
# The kernel fills in length, identification and checksum of an IPv4 header (raw(7)); the port of the address that a
# raw IPv6 socket sends to means a protocol, so it is none.
_IPV4_START: Final = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, HOP_LIMIT, UDP, 0)
_IPV6_START: Final = struct.pack("!IHBB", 6 << 28, 0, UDP, HOP_LIMIT)
_IPV6_LENGTH_AT: Final = 4
_NAT_T = Port.NAT_T
_LENGTH = struct.Struct("!H")
_LENGTH_AND_CHECKSUM = struct.Struct("!HH")


class Guise:
    """How one flow's datagrams look to its real server: the fixed part of their headers."""

    __slots__ = ("_impersonator", "carries_esp", "flow", "head", "key", "socket", "sum", "to")

    def __init__(self, flow: Flow, server: bytes, source: bytes, impersonator: Impersonator) -> None:
        """Make what a flow needs that goes to the real server with this raw address, and comes from that one."""
        self._impersonator = impersonator
        self.flow = flow
        self.socket: socket.socket | None = None
        """Sends what is too big to leave in one piece, and from then on everything."""
        self.carries_esp = flow.port is _NAT_T
        self.key = server + source
        """The raw addresses of real server and source."""
        if len(server) == NAME_BYTES:
            addresses = source[8:24] + server[8:24] + source[2:4] + server[2:4]
            self.head = _IPV6_START + addresses
            self.to = server[:2] + bytes(2) + server[4:]
        else:
            addresses = source[4:8] + server[4:8] + source[2:4] + server[2:4]
            self.head = _IPV4_START + addresses
            self.to = server
        self.sum = int.from_bytes(addresses) + UDP

    def send(self, data: memoryview) -> int:
        """Send a datagram to the real server: with the next flush, unless there is a socket."""
        return self._impersonator.send(self, data) if self.socket is None else self.socket.send(data)


class Impersonator:
    """The raw socket of an address family, and the datagrams that wait to leave through it together."""

    def __init__(self, family: socket.AddressFamily, refused: Callable[[Flow, memoryview, int], None]) -> None:
        """Open the socket; `refused` gets flow, payload and errno of what the kernel does not send. Raises OSError."""
        self._socket = sockets.raw(family)
        slots = Slots()
        self._views = slots.views
        self._sender = Sender(self._socket.fileno(), family, slots)
        self._sizes, self._peers = self._sender.sizes, self._sender.peers
        self._peer_bytes = raw_bytes(family)
        self._flows: list[Flow | None] = [None] * SLOTS
        self._count = 0
        self._refused = refused
        self._is_ipv6 = family == socket.AF_INET6
        # The kernel fragments what a raw socket sends where a route has a smaller MTU, but not with IPv6.
        self._largest_bytes = SMALLEST_IPV6_MTU_BYTES if self._is_ipv6 else SLOT_BYTES
        self._head_bytes = len(_IPV6_START) + 36 if self._is_ipv6 else len(_IPV4_START) + 12
        self._payload_at = self._head_bytes + _LENGTH_AND_CHECKSUM.size
        self._first_words = slots.words(self._payload_at)

    def send(self, guise: Guise, data: memoryview) -> int:
        """Send a flow's datagram to its real server with the next flush."""
        size = len(data)
        at = self._payload_at
        end = at + size
        if end > self._largest_bytes:
            self._refused(guise.flow, data, errno.EMSGSIZE)
            return size
        slot = self._count
        view = self._views[slot]
        view[: self._head_bytes] = guise.head
        view[at:end] = data
        udp_bytes = size + UDP_HEADER_BYTES
        if self._is_ipv6:
            _LENGTH.pack_into(view, _IPV6_LENGTH_AT, udp_bytes)
            checksum = _checksum(guise.sum, udp_bytes, data)
        elif guise.carries_esp and self._first_words[slot]:
            # RFC 3948 section 2.1: none for ESP over IPv4.
            checksum = 0
        else:
            checksum = _checksum(guise.sum, udp_bytes, data)
        _LENGTH_AND_CHECKSUM.pack_into(view, self._head_bytes, udp_bytes, checksum)
        self._sizes[slot] = end
        start = slot * NAME_BYTES
        self._peers[start : start + self._peer_bytes] = guise.to
        self._flows[slot] = guise.flow
        self._count = slot + 1
        if slot == LAST_SLOT:
            self.flush()
        return size

    def flush(self) -> None:
        """Send what waits."""
        if self._count:
            self._sender.send(0, self._count, self._not_sent)
            self._count = 0

    def close(self) -> None:
        """Give the socket back; what waits is lost."""
        self._count = 0
        self._socket.close()

    def _not_sent(self, slot: int, number: int) -> None:
        flow = self._flows[slot]
        assert flow is not None
        self._refused(flow, self._views[slot][self._payload_at : self._sizes[slot]], number)


def _checksum(fixed: int, udp_bytes: int, data: memoryview) -> int:
    """The UDP checksum (RFC 768) of a payload, with the sum of what is the same in all datagrams of its flow; never 0.

    A number and the sum of its 16-bit digits leave the same remainder by 65535: one division instead of a loop.
    """
    payload = int.from_bytes(data) % 0xFFFF
    if udp_bytes & 1:
        payload <<= 8
    return 0xFFFF - (fixed + 2 * udp_bytes + payload) % 0xFFFF
