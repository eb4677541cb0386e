"""Which news of neighbours matter, and that the memory of them stays bounded."""

from __future__ import annotations

import struct
from socket import AF_INET

from engine.fastpath.neighbours import KnownNeighbours
from engine.fastpath.netlink import attribute

INCOMPLETE, REACHABLE, FAILED = 0x01, 0x02, 0x20
BRIDGE = 7


def neighbour(number: int, *, state: int = REACHABLE, family: int = AF_INET) -> bytes:
    """What the kernel says of a neighbour."""
    fixed = struct.pack("=BxxxiHBB", family, 3, state, 0, 1)
    return fixed + attribute(1, number.to_bytes(4, "big")) + attribute(2, b"\2\0\0\0\0\1")


def test_a_crowd_of_neighbours_does_not_fill_the_memory() -> None:
    """The oldest are forgotten, which costs a look at the next hops and no more."""
    known = KnownNeighbours()
    assert known.is_changed(neighbour(0), deleted=False)
    assert not known.is_changed(neighbour(0), deleted=False)
    for number in range(1, 10_000):
        known.is_changed(neighbour(number), deleted=False)
    assert known.is_changed(neighbour(0), deleted=False)


def test_hosts_that_do_not_exist_are_no_news() -> None:
    """Packets to every address of a link, as a scan sends them, have no flow looked up again."""
    known = KnownNeighbours()
    assert not any(known.is_changed(neighbour(1, state=state), deleted=False) for state in (INCOMPLETE, FAILED))
    assert not known.is_changed(neighbour(1, state=FAILED), deleted=True)


def test_a_host_that_no_longer_answers_is_news() -> None:
    """Its flows are for the kernel now, which asks for it again; once is enough."""
    known = KnownNeighbours()
    known.is_changed(neighbour(1), deleted=False)
    assert known.is_changed(neighbour(1, state=FAILED), deleted=False)
    assert not known.is_changed(neighbour(1, state=FAILED), deleted=True)


def test_a_neighbour_that_the_kernel_drops_is_news() -> None:
    """To make room it drops neighbours in any state; when one is back, that is news again."""
    known = KnownNeighbours()
    known.is_changed(neighbour(1), deleted=False)
    assert known.is_changed(neighbour(1), deleted=True)
    assert known.is_changed(neighbour(1), deleted=False)


def test_what_a_bridge_learns_is_no_news() -> None:
    """Its table of MAC addresses comes in the same messages."""
    assert not KnownNeighbours().is_changed(neighbour(1, family=BRIDGE), deleted=False)
