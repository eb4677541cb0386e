"""Maps that BPF programs and this process share."""

from __future__ import annotations

import ctypes
import errno
import mmap
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

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of a key; raises BpfError."""
        _expect(key, self.key_bytes)
        _expect(value, self.value_bytes)
        self._check(self._prompt.bpf_map_update_elem(self.fd, key, value, libbpf.BPF_ANY), "write to")

    def delete(self, key: bytes) -> bool:
        """Remove a key; says whether it was there; raises BpfError."""
        _expect(key, self.key_bytes)
        answer = self._prompt.bpf_map_delete_elem(self.fd, key)
        if answer == -errno.ENOENT:
            return False
        self._check(answer, "delete from")
        return True

    def list_keys(self) -> list[bytes]:
        """The keys that there are, while nobody else writes to the map; raises BpfError."""
        found: list[bytes] = []
        after = ctypes.create_string_buffer(self.key_bytes)
        while True:
            answer = self._prompt.bpf_map_get_next_key(self.fd, found[-1] if found else None, after)
            if answer == -errno.ENOENT:
                return found
            self._check(answer, "list")
            found.append(after.raw)

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


def _expect(buffer: bytes, size_bytes: int) -> None:
    if len(buffer) != size_bytes:
        raise ValueError(f"{len(buffer)} bytes where the BPF map has {size_bytes}")


def _aligned(size_bytes: int, to_bytes: int) -> int:
    return -(-size_bytes // to_bytes) * to_bytes
