"""Tells when this machine's network devices change, or the ways to the next hops, and keeps those verified."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from enum import StrEnum
from socket import AF_NETLINK, SO_RCVBUF, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET
from socket import socket as kernel_socket
from types import TracebackType
from typing import Final, Self

import trio

from engine.fastpath.interfaces import Interface
from engine.fastpath.neighbours import KnownNeighbours, keep_in_use
from engine.fastpath.netlink import NETLINK_ROUTE, SOL_NETLINK, NetlinkError, messages

SETTLE_S: Final = 0.02
"""Changes come in bursts: what comes this soon after the first is told together with it."""

_JOIN: Final = 1
# The groups of rtnetlink.h: links; neighbours; addresses, routes, rules and settings of IPv4 and of IPv6; next hops.
_GROUPS: Final = (1, 3, 5, 7, 8, 24, 9, 11, 19, 25, 32)
_OF_DEVICES: Final = frozenset({16, 17, 20, 21, 80, 81})
"""Kinds of messages: links, addresses and settings (of which forwarding is one), new and deleted."""
_OF_ROUTES: Final = frozenset({24, 25, 32, 33, 104, 105})
"""Routes, rules and next hops, new and deleted."""
_OF_NEIGHBOURS: Final = frozenset({28, 29})
_DELETED_NEIGHBOUR: Final = 29

_BUFFER_BYTES: Final = 1 << 20
_DATAGRAM_BYTES: Final = 1 << 16
_DATAGRAMS_AT_ONCE: Final = 1024


class Change(StrEnum):
    """What has changed."""

    DEVICES = "devices"
    """Devices, their addresses or their settings."""
    ROUTES = "routes"
    """By which devices and next hops packets leave."""
    NEIGHBOURS = "neighbours"
    """The MAC addresses of next hops."""


_EVERYTHING: Final = frozenset(Change)


class NetlinkWatch:
    """A subscription to the kernel's changes, from its making on.

    Raises:
        NetlinkError: the kernel refuses.
    """

    def __init__(self) -> None:
        try:
            self._socket = kernel_socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE)
        except OSError as error:
            raise NetlinkError(error.errno or 0) from error
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_SOCKET, SO_RCVBUF, _BUFFER_BYTES)
            for group in _GROUPS:
                self._socket.setsockopt(SOL_NETLINK, _JOIN, group)
        except OSError as error:
            self._socket.close()
            raise NetlinkError(error.errno or 0) from error
        self._neighbours = KnownNeighbours()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()

    def keep_in_use(self, interfaces: Iterable[Interface]) -> None:
        """Have the kernel verify its stale neighbours on these devices, as `neighbours.keep_in_use` explains.

        Raises:
            NetlinkError: the kernel refuses.
        """
        keep_in_use({interface.index for interface in interfaces})

    async def changed(self) -> frozenset[Change]:
        """Wait for a change; all that changed since the last call.

        A change of devices is one of everything: of the routes that go with a device the kernel does not tell.

        Raises:
            NetlinkError: the subscription is broken.
        """
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            await trio.sleep(SETTLE_S)
            if changes := self._drain():
                return changes

    def _drain(self) -> frozenset[Change]:
        changes: frozenset[Change] = frozenset()
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno or 0) from error
                # Messages were lost, and it is unknown of what.
                self._neighbours.forget()
                changes = _EVERYTHING
                continue
            for kind, _, _, body in messages(datagram):
                changes |= self._changes_told(kind, body)
        return changes

    def _changes_told(self, kind: int, body: bytes) -> frozenset[Change]:
        if kind in _OF_DEVICES:
            return _EVERYTHING
        if kind in _OF_ROUTES:
            return frozenset({Change.ROUTES})
        if kind in _OF_NEIGHBOURS and self._neighbours.is_changed(body, deleted=kind == _DELETED_NEIGHBOUR):
            return frozenset({Change.NEIGHBOURS})
        return frozenset()
