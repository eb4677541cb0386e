"""The kernel's neighbours: the hosts on this machine's links whose MAC addresses it has found out."""

from __future__ import annotations

import struct
from collections.abc import Container
from socket import AF_INET, AF_INET6
from typing import Final

from engine.fastpath.netlink import DUMP, Netlink, attribute, attributes

MOST_AT_ONCE: Final = 256
"""Neighbours that are kept in use in one go, so that a big link does not see a burst of requests."""

_NEW_NEIGHBOUR, _GET_NEIGHBOUR = 28, 30
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_ADDRESS, _MAC = 1, 2
_USE: Final = 0x1
_STALE: Final = 0x4
_VALID: Final = 0x02 | _STALE | 0x08 | 0x10 | 0x40 | 0x80
"""States in which packets are sent to the MAC address: reachable, stale, delay, probe, no ARP, permanent."""

_MOST_KNOWN: Final = 8192


class KnownNeighbours:
    """Remembers MAC addresses, because most that the kernel tells of neighbours is that they are still the same."""

    def __init__(self) -> None:
        self._macs: dict[tuple[int, bytes], bytes] = {}

    def is_changed(self, body: bytes, *, deleted: bool) -> bool:
        """Whether packets to the neighbour that a message tells of must go elsewhere than before."""
        family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
        if family not in (AF_INET, AF_INET6):
            return False
        found = attributes(body, _NEIGHBOUR.size)
        neighbour = index, found.get(_ADDRESS, b"")
        before = self._macs.pop(neighbour, None)
        if deleted or not state & _VALID:
            return before is not None
        if len(self._macs) >= _MOST_KNOWN:
            self._macs.clear()
        self._macs[neighbour] = found.get(_MAC, b"")
        return self._macs[neighbour] != before

    def forget(self) -> None:
        """Know nothing, because messages were lost."""
        self._macs.clear()


def keep_in_use(interfaces: Container[int]) -> int:
    """Have the kernel verify its stale neighbours on these devices; how many it was told to.

    The kernel verifies a neighbour that it sends something to. The XDP program looks neighbours up without that, so a
    next hop that only the program uses would stay stale for good, and a host that has got another MAC address, or is
    gone, would never be noticed.

    Raises:
        NetlinkError: the kernel refuses.
    """
    with Netlink() as kernel:
        stale = []
        for answer in kernel.ask(_GET_NEIGHBOUR, bytes(_NEIGHBOUR.size), DUMP):
            family, index, state, _, kind = _NEIGHBOUR.unpack_from(answer)
            if state & _STALE and index in interfaces:
                address = attribute(_ADDRESS, attributes(answer, _NEIGHBOUR.size)[_ADDRESS])
                stale.append(_NEIGHBOUR.pack(family, index, state, _USE, kind) + address)
        kernel.tell(_NEW_NEIGHBOUR, stale[:MOST_AT_ONCE])
    return min(len(stale), MOST_AT_ONCE)
