"""Maps of BPF programs, read and written as the fast path does."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_objects import PROBE_SOURCE, build, loaded, require_bpf

from engine.fastpath.bpf import BpfError, Map, Object

ROOM = 64
"""Elements that the map `numbers` has room for."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Object]:
    with loaded(PROBE_SOURCE, tmp_path_factory.mktemp("probe")) as opened:
        yield opened


@pytest.fixture
def numbers(probe: Object) -> Iterator[Map]:
    """A hash map from 4 bytes to 8, with room for few; empty before and after."""
    found = probe.map("numbers")
    yield found
    for number in range(ROOM):
        found.delete(key(number))


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def value(number: int) -> bytes:
    return struct.pack("=Q", number)


def test_map_knows_its_sizes(probe: Object) -> None:
    """Sizes come from the kernel, with the bytes of all CPUs for a per-CPU map."""
    numbers, seen = probe.map("numbers"), probe.map("seen")

    assert (numbers.name, numbers.key_bytes, numbers.value_bytes, numbers.max_entries) == ("numbers", 4, 8, ROOM)
    assert seen.value_bytes == 8 * len(seen.lookup_each_cpu(key(0)))


def test_value_is_read_back_until_it_is_deleted(numbers: Map) -> None:
    """What is written can be read, written again, and deleted once."""
    assert numbers.lookup(key(1)) is None
    numbers.update(key(1), value(10))
    numbers.update(key(1), value(11))

    assert numbers.lookup(key(1)) == value(11)
    assert numbers.delete(key(1))
    assert not numbers.delete(key(1))
    assert numbers.lookup(key(1)) is None


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(3, 8), (5, 8), (4, 7), (4, 9)])
def test_wrong_length_never_reaches_the_kernel(numbers: Map, key_bytes: int, value_bytes: int) -> None:
    """The kernel reads as many bytes as the map has, so others than that are refused before."""
    with pytest.raises(ValueError, match="bytes where the BPF map has"):
        numbers.update(bytes(key_bytes), bytes(value_bytes))


def test_full_map_says_so(numbers: Map) -> None:
    """What there is no room for is refused by name, and what is there stays."""
    for number in range(ROOM):
        numbers.update(key(number), value(number))

    with pytest.raises(BpfError, match="numbers") as refused:
        numbers.update(key(ROOM), value(1))
    assert refused.value.errno == errno.E2BIG
    assert [numbers.lookup(key(number)) for number in (0, ROOM - 1)] == [value(0), value(ROOM - 1)]


def test_each_cpu_has_its_own_value(probe: Object) -> None:
    """A program counts on the CPU that it runs on, and the counts are read one for each."""
    seen, count = probe.map("seen"), probe.program("count")
    before = [int.from_bytes(one, "little") for one in seen.lookup_each_cpu(key(1))]

    for _ in range(5):
        count.run(bytes(60))

    after = [int.from_bytes(one, "little") for one in seen.lookup_each_cpu(key(1))]
    assert [len(one) for one in seen.lookup_each_cpu(key(1))] == [4] * len(before)
    assert sum(after) - sum(before) == 5
    assert seen.lookup_each_cpu(key(2)) == []


def test_values_of_all_cpus_are_set_at_once(probe: Object) -> None:
    """A value of a per-CPU map is written as it is read."""
    seen = probe.map("seen")

    seen.update(key(0), bytes(seen.value_bytes))

    assert seen.lookup(key(0)) == bytes(seen.value_bytes)


def test_array_as_memory_is_the_map(probe: Object) -> None:
    """What is stored in the mapped memory of an array is what the kernel has."""
    array = probe.map("settings")

    with array.mmap() as memory:
        memory[8:12] = b"abcd"
        assert array.lookup(key(1)) == b"abcd"
        array.update(key(2), b"wxyz")
        assert memory[16:20] == b"wxyz"


def test_only_arrays_made_for_it_become_memory(numbers: Map) -> None:
    """A hash map cannot be mapped, and the message names it."""
    with pytest.raises(BpfError, match="cannot map into memory the BPF map numbers"):
        numbers.mmap()


def test_map_is_resized_before_loading_only(tmp_path: Path) -> None:
    """An object takes its room for elements before it is in the kernel, and refuses another afterwards."""
    require_bpf()
    with Object.open(build(PROBE_SOURCE, tmp_path)) as opened:
        opened.resize("numbers", 5)
        opened.load()

        assert opened.map("numbers").max_entries == 5
        with pytest.raises(BpfError, match="cannot resize the BPF map numbers"):
            opened.resize("numbers", 6)
