"""Maps that BPF programs and this process share."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Iterator
from ctypes import byref, c_uint32, sizeof
from typing import Final

from engine.fastpath import libbpf
from engine.fastpath.errors import BpfError, refusal
from engine.fastpath.libbpf import describe, library, prompt_library

_PER_CPU_TYPES: Final = frozenset({5, 6, 10, 21})
"""BPF_MAP_TYPE_PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE."""


class Map:
    """A map in the kernel; lives as long as its object.

    A value of a per-CPU map is those of all possible CPUs one after the other, each padded to 8 bytes; `value_bytes`
    is the size of that. Keys and values of a wrong length raise ValueError.
    """

    def __init__(self, fd: int) -> None:
        info = describe(fd, libbpf.MapInfo())
        self.fd = fd
        self.name = str(info.name, "ascii")
        self.key_bytes = int(info.key_size)
        self.max_entries = int(info.max_entries)
        self._one_value_bytes = int(info.value_size)
        self._stride_bytes = _aligned(self._one_value_bytes, 8)
        per_cpu = info.type in _PER_CPU_TYPES
        self.value_bytes = self._stride_bytes * _possible_cpus() if per_cpu else self._one_value_bytes
        self._prompt = prompt_library()

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key, None where there is none; raises BpfError."""
        _expect(key, self.key_bytes)
        value = ctypes.create_string_buffer(self.value_bytes)
        answer = self._prompt.bpf_map_lookup_elem(self.fd, key, value)
        if answer == -errno.ENOENT:
            return None
        self._check(answer, "read")
        return value.raw

    def lookup_each_cpu(self, key: bytes) -> list[bytes]:
        """The values of a key in a per-CPU map, one for each possible CPU; none for no such key; raises BpfError."""
        values = self.lookup(key) or b""
        return [values[at : at + self._one_value_bytes] for at in range(0, len(values), self._stride_bytes)]

    def update(self, key: bytes, value: bytes, *, must_be_new: bool = False) -> None:
        """Set the value of a key; raises BpfError, with errno EEXIST where it must be new and is not."""
        _expect(key, self.key_bytes)
        _expect(value, self.value_bytes)
        flags = libbpf.BPF_NOEXIST if must_be_new else libbpf.BPF_ANY
        self._check(self._prompt.bpf_map_update_elem(self.fd, key, value, flags), "write to")

    def delete(self, key: bytes) -> bool:
        """Remove a key; says whether it was there; raises BpfError."""
        _expect(key, self.key_bytes)
        answer = self._prompt.bpf_map_delete_elem(self.fd, key)
        if answer == -errno.ENOENT:
            return False
        self._check(answer, "delete from")
        return True

    def update_batch(self, keys: bytes, values: bytes, count: int) -> int:
        """Set `count` values in order; returns how many were: fewer where the map is full; raises BpfError."""
        _expect(keys, self.key_bytes * count)
        _expect(values, self.value_bytes * count)
        done = c_uint32(count)
        answer = library().bpf_map_update_batch(self.fd, keys, values, byref(done), _batch_options())
        if answer != -errno.E2BIG:
            self._check(answer, "write to")
        return done.value

    def delete_batch(self, keys: bytes, count: int) -> int:
        """Remove `count` keys, or those of them that are there; returns how many were; raises BpfError."""
        _expect(keys, self.key_bytes * count)
        address = ctypes.cast(ctypes.c_char_p(keys), ctypes.c_void_p).value or 0
        at = deleted = 0
        while at < count:
            done = c_uint32(count - at)
            answer = library().bpf_map_delete_batch(
                self.fd, address + at * self.key_bytes, byref(done), _batch_options()
            )
            if answer != -errno.ENOENT:
                self._check(answer, "delete from")
            deleted += done.value
            at += done.value + 1  # the kernel stops at a key that is not there
        return deleted

    def read_slices(self, count: int) -> Iterator[tuple[memoryview, memoryview, int]]:
        """Walk all elements, up to `count` at a time: keys, values, and how many; raises BpfError.

        The same memory is used for every slice. Elements that come or go meanwhile may be seen or not. A slice is
        larger than asked for where so many elements share a hash bucket.
        """
        place = ctypes.create_string_buffer(max(self.key_bytes, 8))
        start: ctypes.Array[ctypes.c_char] | None = None
        while True:
            keys = ctypes.create_string_buffer(count * self.key_bytes)
            values = ctypes.create_string_buffer(count * self.value_bytes)
            answer = 0
            while answer == 0:
                done = c_uint32(count)
                answer = library().bpf_map_lookup_batch(
                    self.fd, start, place, keys, values, byref(done), _batch_options()
                )
                start = place
                if answer == -errno.ENOSPC:
                    break
                if answer != -errno.ENOENT:
                    self._check(answer, "walk")
                if read := done.value:
                    yield (
                        memoryview(keys).cast("B")[: read * self.key_bytes],
                        memoryview(values).cast("B")[: read * self.value_bytes],
                        read,
                    )
            if answer == -errno.ENOENT:
                return
            count *= 2

    def mmap(self) -> mmap.mmap:
        """An array with BPF_F_MMAPABLE as memory, elements at multiples of 8 bytes; raises BpfError."""
        size_bytes = _aligned(self._stride_bytes * self.max_entries, mmap.PAGESIZE)
        try:
            return mmap.mmap(self.fd, size_bytes)
        except OSError as error:
            raise self._refusal(-(error.errno or 0), "map into memory") from error

    def _check(self, answer: int, doing: str) -> None:
        if answer < 0:
            raise self._refusal(answer, doing)

    def _refusal(self, answer: int, doing: str) -> BpfError:
        return refusal(f"cannot {doing} the BPF map {self.name}", answer)


def _possible_cpus() -> int:
    answer: int = library().libbpf_num_possible_cpus()
    if answer < 0:
        raise refusal("cannot tell how many CPUs there may be", answer)
    return answer


def _batch_options() -> object:
    return byref(libbpf.BatchOptions(sz=sizeof(libbpf.BatchOptions)))


def _expect(buffer: bytes, size_bytes: int) -> None:
    if len(buffer) != size_bytes:
        raise ValueError(f"{len(buffer)} bytes where the BPF map has {size_bytes}")


def _aligned(size_bytes: int, to_bytes: int) -> int:
    return -(-size_bytes // to_bytes) * to_bytes
