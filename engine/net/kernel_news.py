"""Hears from the kernel when somebody touches what brings replies back, so that nobody has to look again and again."""

from __future__ import annotations

import errno
import select
import struct
from socket import AF_NETLINK, SO_RCVBUF, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET, socket
from types import TracebackType
from typing import Final, Self

import trio

from engine.net.transparent import NFT_TABLE, ROUTE_TABLE

_SOL_NETLINK: Final = 270
_JOIN: Final = 1
_ROUTING, _NETFILTER = 0, 12
_GROUPS: Final = {_ROUTING: (1, 7, 8, 11, 19), _NETFILTER: (7,)}
"""Of rtnetlink.h: links, and routes and rules of IPv4 and of IPv6; of nfnetlink.h: nftables."""
_BUFFER_BYTES: Final = 1 << 20
_DATAGRAM_BYTES: Final = 1 << 16
_DATAGRAMS_AT_ONCE: Final = 256


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload


_TELLING: Final = (
    # FRA_TABLE of rules and RTA_TABLE of routes, which have the same number.
    _attribute(15, struct.pack("=I", int(ROUTE_TABLE))),
    # The route goes with this device, and of that the kernel does not tell: IFLA_IFNAME.
    _attribute(3, b"lo\0"),
    # The table of a table, chain, rule or set, and the sets' elements: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and so on.
    _attribute(1, NFT_TABLE.encode() + b"\0"),
)
"""What a message has in it that may be of the return path: to look for the bytes costs less than to take it apart."""


class KernelNews:
    """A subscription, from its making on; raises OSError where the kernel refuses (without CAP_NET_ADMIN)."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._sockets: list[socket] = []
        try:
            for protocol, groups in _GROUPS.items():
                self._subscribe(protocol, groups)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription."""
        for sock in self._sockets:
            sock.close()
        self._poll.close()

    async def touched(self) -> None:
        """Wait until something of the return path may have changed, be it by this engine itself."""
        while True:
            await trio.lowlevel.wait_readable(self._poll.fileno())
            told = [_tells(sock) for sock in self._sockets]
            if any(told):
                return

    def _subscribe(self, protocol: int, groups: tuple[int, ...]) -> None:
        sock = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, protocol)
        self._sockets.append(sock)
        sock.bind((0, 0))
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, _BUFFER_BYTES)
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _JOIN, group)
        self._poll.register(sock, select.EPOLLIN)


def _tells(sock: socket) -> bool:
    """Read a bounded share of what waits; whether any of it is of the return path, or may have been."""
    found = False
    for _ in range(_DATAGRAMS_AT_ONCE):
        try:
            datagram = sock.recv(_DATAGRAM_BYTES)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            found = True  # messages were lost, and nobody knows of what
            continue
        found = found or any(part in datagram for part in _TELLING)
    return found
