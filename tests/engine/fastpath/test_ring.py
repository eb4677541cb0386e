"""Ring buffers: what programs report, in order, none twice, and room given back."""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bpf_objects import PROBE_SOURCE, loaded

from engine.fastpath.bpf import BpfError, Object
from engine.fastpath.ring import RingBuffer

RING_BYTES = 4096
XDP_DROP, XDP_PASS = 1, 2
BUSY, DISCARDED = 1 << 31, 1 << 30


@dataclass(frozen=True)
class Reports:
    """A program that reports packets, and the ring that it reports to."""

    ring: RingBuffer
    probe: Object

    def add(self, packet: bytes) -> bool:
        """Have a packet reported; says whether there was room."""
        return self.probe.program("report").run(packet).verdict == XDP_PASS


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Object]:
    with loaded(PROBE_SOURCE, tmp_path_factory.mktemp("probe")) as opened:
        yield opened


@pytest.fixture
def reports(probe: Object) -> Iterator[Reports]:
    """An empty ring of 4096 bytes and its program."""
    with RingBuffer(probe.map("reports")) as ring:
        ring.consume(RING_BYTES)
        yield Reports(ring, probe)


def packet(size_bytes: int, mark: int = 0, *, discarded: bool = False) -> bytes:
    """A packet of which the program reports that many bytes, or takes the report back."""
    return (bytes([int(discarded), size_bytes - 1, mark]) + bytes(range(256)))[: max(size_bytes, 14)]


def test_records_come_out_as_they_went_in(reports: Reports) -> None:
    """Records of any length, also odd ones, come out whole and in order, and once."""
    sent = [packet(size_bytes, mark) for mark, size_bytes in enumerate((14, 15, 16, 17, 64, 255, 256))]
    assert all(map(reports.add, sent))

    assert reports.ring.consume(100) == sent
    assert reports.ring.consume(100) == []


def test_limit_leaves_the_rest_for_later(reports: Reports) -> None:
    """No more than the limit comes out at a time, and what is left comes next."""
    sent = [packet(20, mark) for mark in range(5)]
    assert all(map(reports.add, sent))

    assert reports.ring.consume(2) == sent[:2]
    assert reports.ring.consume(2) == sent[2:4]
    assert reports.ring.consume(2) == sent[4:]


def test_discarded_records_are_passed_over(reports: Reports) -> None:
    """What a program took back is not seen, and does not count against the limit."""
    first, last = packet(20, 1), packet(20, 2)
    for one in (packet(20, discarded=True), first, packet(20, discarded=True), packet(20, discarded=True), last):
        assert reports.add(one)

    assert reports.ring.consume(2) == [first, last]


def test_full_ring_takes_more_once_it_was_read(reports: Reports) -> None:
    """A ring that nobody reads refuses records; reading gives the room back."""
    sent = [packet(256, mark) for mark in range(20)]
    fitting = [one for one in sent if reports.add(one)]
    assert 0 < len(fitting) < len(sent)

    assert reports.ring.consume(100) == fitting
    assert reports.add(sent[0])
    assert reports.ring.consume(100) == [sent[0]]


def test_records_across_the_end_are_whole(reports: Reports) -> None:
    """Going round the ring many times, with lengths that never fit its end, loses and mixes nothing."""
    for mark in range(200):
        sent = [packet(101 + mark % 50, mark), packet(33, mark)]
        assert all(map(reports.add, sent))
        assert reports.ring.consume(100) == sent


def test_ring_is_readable_while_something_is_in_it(reports: Reports) -> None:
    """Whoever waits for the ring's descriptor wakes when there is a record, and until all are read."""
    poll = select.poll()
    poll.register(reports.ring.fd, select.POLLIN)
    assert poll.poll(0) == []

    reports.add(packet(20))
    reports.add(packet(20))
    assert poll.poll(0) != []
    reports.ring.consume(1)
    assert poll.poll(0) != []
    reports.ring.consume(1)
    assert poll.poll(0) == []


def test_other_maps_are_no_rings(probe: Object) -> None:
    """A map of another type is refused by name."""
    with pytest.raises(BpfError, match="cannot map the BPF ring numbers into memory"):
        RingBuffer(probe.map("numbers"))


@dataclass(frozen=True)
class _WrittenRing:
    """The memory of a ring as the kernel lays it out, written by hand."""

    fd: int
    name: str = "written"
    max_entries: int = RING_BYTES

    def write(self, *records: tuple[int, bytes]) -> None:
        at = 0
        for flags, data in records:
            os.pwrite(self.fd, struct.pack("=II", flags | len(data), 0) + data, 2 * mmap.PAGESIZE + at)
            at += -(-(8 + len(data)) // 8) * 8
        os.pwrite(self.fd, struct.pack("=Q", at), mmap.PAGESIZE)


@pytest.fixture
def written() -> Iterator[_WrittenRing]:
    fd = os.memfd_create("ring")
    os.ftruncate(fd, 2 * mmap.PAGESIZE + 2 * RING_BYTES)
    yield _WrittenRing(fd)
    os.close(fd)


def test_record_in_the_making_holds_up_those_behind_it(written: _WrittenRing) -> None:
    """A record that another CPU is still writing is not read, nor is any after it, until it is complete."""
    with RingBuffer(written) as ring:  # type: ignore[arg-type]
        written.write((0, b"first"), (BUSY, b"second"), (0, b"third"))
        assert ring.consume(100) == [b"first"]
        assert ring.consume(100) == []

        written.write((0, b"first"), (0, b"second"), (0, b"third"))
        assert ring.consume(100) == [b"second", b"third"]


def test_many_discarded_records_end_with_the_ring(written: _WrittenRing) -> None:
    """A ring full of records that were taken back reads as empty, and is given back."""
    with RingBuffer(written) as ring:  # type: ignore[arg-type]
        written.write(*[(DISCARDED, b"x" * 24)] * 128)

        assert ring.consume(1) == []
        assert os.pread(written.fd, 8, 0) == struct.pack("=Q", RING_BYTES)
