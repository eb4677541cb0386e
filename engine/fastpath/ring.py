"""Takes what a BPF program wrote out of a ring buffer map, by the memory that it shares with the kernel."""

from __future__ import annotations

import mmap
from struct import Struct
from types import TracebackType
from typing import Final, Self

from engine.fastpath.errors import refusal
from engine.fastpath.maps import Map

# Linux: kernel/bpf/ringbuf.c, and BPF_RINGBUF_* of linux/bpf.h
_HEADER: Final = Struct("=II")
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_STEP_BYTES: Final = 8


class RingBuffer:
    """The reading end of a map of type BPF_MAP_TYPE_RINGBUF; there must be only one.

    `fd` is readable while something is in the ring, also where it is not complete yet: wait for it level-triggered.
    It is the map's, and lives as long as that.
    """

    def __init__(self, ring: Map) -> None:
        """Map the ring into memory; raises BpfError."""
        self.fd = ring.fd
        self._mask = ring.max_entries - 1
        try:
            self._reader = mmap.mmap(ring.fd, mmap.PAGESIZE)
            # The kernel maps the records twice in a row, so none is ever in two pieces.
            self._writer = mmap.mmap(
                ring.fd, mmap.PAGESIZE + 2 * ring.max_entries, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
            )
        except OSError as error:
            raise refusal(f"cannot map the BPF ring {ring.name} into memory", -(error.errno or 0)) from error
        # Whole words at aligned addresses, which the processor reads and writes in one go.
        self._read_to = memoryview(self._reader).cast("Q")
        self._written_to = memoryview(self._writer).cast("Q")

    def consume(self, limit: int) -> list[bytes]:
        """Take out up to `limit` records, oldest first, and give their room back to the kernel."""
        records: list[bytes] = []
        writer, mask = self._writer, self._mask
        at: int = self._read_to[0]
        end: int = self._written_to[0]
        while at < end and len(records) < limit:
            start = mmap.PAGESIZE + (at & mask)
            header, _ = _HEADER.unpack_from(writer, start)
            if header & _BUSY:
                break
            size_bytes = header & ~_DISCARDED
            start += _HEADER.size
            if not header & _DISCARDED:
                records.append(writer[start : start + size_bytes])
            at += -(-(_HEADER.size + size_bytes) // _STEP_BYTES) * _STEP_BYTES
        self._read_to[0] = at
        return records

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        self._read_to.release()
        self._written_to.release()
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
