"""What is remembered of neighbours stays bounded."""

from __future__ import annotations

import struct
from socket import AF_INET

from engine.fastpath.neighbours import KnownNeighbours
from engine.fastpath.netlink import attribute

REACHABLE = 0x02
BRIDGE = 7


def neighbour(number: int, *, family: int = AF_INET) -> bytes:
    """What the kernel says of a neighbour."""
    fixed = struct.pack("=BxxxiHBB", family, 3, REACHABLE, 0, 1)
    return fixed + attribute(1, number.to_bytes(4, "big")) + attribute(2, b"\2\0\0\0\0\1")


def test_a_crowd_of_neighbours_does_not_fill_the_memory() -> None:
    """The oldest are forgotten, which costs a look at the next hops and no more."""
    known = KnownNeighbours()
    assert known.is_changed(neighbour(0), deleted=False)
    assert not known.is_changed(neighbour(0), deleted=False)
    for number in range(1, 10_000):
        known.is_changed(neighbour(number), deleted=False)
    assert known.is_changed(neighbour(0), deleted=False)


def test_what_a_bridge_learns_is_no_news() -> None:
    """Its table of MAC addresses comes in the same messages."""
    assert not KnownNeighbours().is_changed(neighbour(1, family=BRIDGE), deleted=False)
