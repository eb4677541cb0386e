"""Many datagrams in one system call: sizes, peers and failures are told apart, and no address is cut short."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from net_gateway import Peer

from engine.net import sockets
from engine.net.batches import NAME_BYTES, SLOTS, Receiver, Sender, Slots, from_raw, raw_bytes, to_raw

HOSTS = ["127.0.0.1", "::1"]


@pytest.fixture(params=HOSTS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Peer, Peer]]:
    peers = Peer(request.param), Peer(request.param)
    yield peers
    for peer in peers:
        peer.close()


@given(st.ip_addresses(v=4), st.integers(0, 65_535))
def test_ipv4_address_survives_its_raw_form(host: object, port: int) -> None:
    """Raw and readable form of an IPv4 peer are the same address, as long as the kernel writes it."""
    raw = to_raw((str(host), port))
    assert len(raw) == raw_bytes(socket.AF_INET)
    assert from_raw(raw) == (str(host), port)


@given(st.ip_addresses(v=6), st.integers(0, 65_535))
def test_ipv6_address_survives_its_raw_form(host: object, port: int) -> None:
    """The same for IPv6; an address that Python writes differently still stands for the same bytes."""
    raw = to_raw((str(host), port, 0, 0))
    assert len(raw) == raw_bytes(socket.AF_INET6)
    assert to_raw(from_raw(raw)) == raw
    assert from_raw(raw)[1:] == (port, 0, 0)


def test_link_local_address_keeps_its_interface() -> None:
    """The scope is part of who the client is; one whose interface is gone keeps its number."""
    index = socket.if_nametoindex("lo")
    raw = to_raw(("fe80::1%lo", 500, 0, index))
    assert from_raw(raw) == ("fe80::1%lo", 500, 0, index)
    assert from_raw(to_raw(("fe80::1%gone", 500, 0, 0x7FFF_0000))) == (f"fe80::1%{0x7FFF_0000}", 500, 0, 0x7FFF_0000)


def test_batch_has_sizes_peers_and_contents(pair: tuple[Peer, Peer]) -> None:
    """Datagrams of very different sizes, an empty one among them, each keep their bytes and their sender."""
    here, there = pair
    other = Peer(here.address[0])
    slots = Slots()
    receiver = Receiver(here.socket.family, slots)
    sent = [b"a", b"", b"b" * 60_000, b"c" * 1400]
    for datagram in sent:
        there.send(datagram, here.address)
    other.send(b"other", here.address)
    assert receiver.receive(here.socket.fileno()) == 5
    assert [bytes(slots.views[slot][: receiver.sizes[slot]]) for slot in range(5)] == [*sent, b"other"]
    assert list(receiver.addresses(5)) == [(to_raw(there.address),)] * 4 + [(to_raw(other.address),)]
    assert receiver.receive(here.socket.fileno()) == 0
    other.close()


def test_batch_tells_where_its_datagrams_were_sent_to(pair: tuple[Peer, Peer]) -> None:
    """Each time anew, for every slot: as a raw address like those of the peers."""
    here, there = pair
    if here.socket.family == socket.AF_INET6:
        here.socket.setsockopt(socket.IPPROTO_IPV6, sockets.IPV6_RECVORIGDSTADDR, 1)
    else:
        here.socket.setsockopt(socket.IPPROTO_IP, sockets.IP_RECVORIGDSTADDR, 1)
    receiver = Receiver(here.socket.family, Slots(), destinations=True)
    for count in (3, SLOTS, 2):
        for number in range(count):
            there.send(bytes(number), here.address)
        assert receiver.receive(here.socket.fileno()) == count
        assert list(receiver.addresses(count)) == [(to_raw(there.address), to_raw(here.address))] * count


def test_batch_takes_no_more_than_its_slots(pair: tuple[Peer, Peer]) -> None:
    """What does not fit waits for the next call; nothing is lost."""
    here, there = pair
    for number in range(SLOTS + 5):
        there.send(bytes([number]), here.address)
    slots = Slots()
    receiver = Receiver(here.socket.family, slots)
    assert receiver.receive(here.socket.fileno()) == SLOTS
    assert receiver.receive(here.socket.fileno()) == 5
    assert [slots.views[slot][0] for slot in range(5)] == list(range(SLOTS, SLOTS + 5))


def test_receiving_from_no_socket_raises() -> None:
    """An error of the socket itself is an OSError, not an empty batch."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        Receiver(socket.AF_INET, Slots()).receive(-1)


def address(sender: Sender, slot: int, size: int, peer: Peer) -> None:
    raw = to_raw(peer.address)
    sender.sizes[slot] = size
    sender.peers[slot * NAME_BYTES : slot * NAME_BYTES + len(raw)] = raw


def test_queue_goes_out_in_order_to_each_peer(pair: tuple[Peer, Peer]) -> None:
    """One call sends a run of slots to many peers, and another run from the same slots goes elsewhere."""
    here, there = pair
    other = Peer(here.address[0])
    slots = Slots()
    sender = Sender(here.socket.fileno(), here.socket.family, slots)
    for slot, text in ((61, b"second"), (62, b"first"), (63, b"third")):
        slots.views[slot][: len(text)] = text
    failures: list[tuple[int, int]] = []
    for _ in range(2):
        address(sender, 61, 6, there)
        address(sender, 62, 5, other)
        address(sender, 63, 5, there)
        sender.send(61, 64, lambda slot, number: failures.append((slot, number)))
    assert [datagram for datagram, _ in there.received()] == [b"second", b"third"] * 2
    assert [datagram for datagram, _ in other.received()] == [b"first"] * 2
    assert {sender for _, sender in there.received()} <= {here.address}
    assert not failures
    other.close()


def test_datagram_that_cannot_be_sent_does_not_hold_up_the_others(pair: tuple[Peer, Peer]) -> None:
    """First, middle or last: each failure is told with its place, size and reason, the rest arrives."""
    here, there = pair
    sender = Sender(here.socket.fileno(), here.socket.family, Slots())
    failures: list[tuple[int, int, int]] = []
    sizes = [65_536, 10, 65_536, 65_536, 20, 65_536]
    for slot, size in enumerate(sizes):
        address(sender, slot, size, there)
    sender.send(0, len(sizes), lambda slot, number: failures.append((slot, number, sender.sizes[slot])))
    assert [len(datagram) for datagram, _ in there.received()] == [10, 20]
    assert failures == [(slot, errno.EMSGSIZE, 65_536) for slot in (0, 2, 3, 5)]
