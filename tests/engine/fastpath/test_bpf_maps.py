"""Maps of BPF programs, read and written as the fast path does."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from bpf_objects import PROBE_SOURCE, build, loaded, require_bpf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.fastpath.bpf import BpfError, Map, Object

ROOM = 64
"""Elements that the map `numbers` has room for."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Object]:
    with loaded(PROBE_SOURCE, tmp_path_factory.mktemp("probe")) as opened:
        yield opened


@pytest.fixture
def numbers(probe: Object) -> Iterator[Map]:
    """A hash map from 4 bytes to 8, empty before and after."""
    found = probe.map("numbers")
    yield found
    empty(found)


def empty(numbers: Map) -> None:
    keys = [key for key, _ in elements(numbers, ROOM)]
    numbers.delete_batch(b"".join(keys), len(keys))


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def value(number: int) -> bytes:
    return struct.pack("=Q", number)


def fill(numbers: Map, wanted: Iterable[int]) -> int:
    wanted = list(wanted)
    return numbers.update_batch(b"".join(map(key, wanted)), b"".join(map(value, wanted)), len(wanted))


def elements(numbers: Map, count: int) -> list[tuple[bytes, bytes]]:
    return [
        (bytes(keys[4 * at : 4 * at + 4]), bytes(values[8 * at : 8 * at + 8]))
        for keys, values, read in numbers.read_slices(count)
        for at in range(read)
    ]


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


def test_new_key_must_not_be_there(numbers: Map) -> None:
    """A key that must be new is refused when it is there, and its value stays."""
    numbers.update(key(1), value(10), must_be_new=True)

    with pytest.raises(BpfError, match="numbers") as refused:
        numbers.update(key(1), value(11), must_be_new=True)
    assert refused.value.errno == errno.EEXIST
    assert numbers.lookup(key(1)) == value(10)


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(3, 8), (5, 8), (4, 7), (4, 9)])
def test_wrong_length_never_reaches_the_kernel(numbers: Map, key_bytes: int, value_bytes: int) -> None:
    """The kernel reads as many bytes as the map has, so others than that are refused before."""
    with pytest.raises(ValueError, match="bytes where the BPF map has"):
        numbers.update(bytes(key_bytes), bytes(value_bytes))
    with pytest.raises(ValueError, match="bytes where the BPF map has"):
        numbers.update_batch(bytes(2 * key_bytes), bytes(2 * value_bytes), 2)


def test_wrong_number_of_keys_is_refused(numbers: Map) -> None:
    """A batch that says it has more keys than it has is refused before the kernel reads past its end."""
    with pytest.raises(ValueError, match="8 bytes where the BPF map has 12"):
        numbers.delete_batch(bytes(8), 3)


def test_full_map_tells_how_many_it_took(numbers: Map) -> None:
    """Of a batch for which there is no room, the first ones are in the map and the answer says how many."""
    assert fill(numbers, range(60)) == 60

    assert fill(numbers, range(100, 110)) == 4
    assert sorted(elements(numbers, ROOM)) == sorted((key(n), value(n)) for n in [*range(60), *range(100, 104)])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), max_size=20))
def test_batch_deletes_what_is_there(numbers: Map, present: list[bool]) -> None:
    """Wherever in a batch keys are missing, all others are deleted and counted, and nothing else goes."""
    empty(numbers)
    fill(numbers, [at for at, there in enumerate(present) if there])
    numbers.update(key(999), value(1))

    assert numbers.delete_batch(b"".join(map(key, range(len(present)))), len(present)) == sum(present)
    assert elements(numbers, ROOM) == [(key(999), value(1))]


@pytest.mark.parametrize("count", [1, 2, 7, ROOM, 1000])
def test_walk_sees_every_element_once(numbers: Map, count: int) -> None:
    """Slices of any size add up to the map, also where more elements than that share a bucket."""
    fill(numbers, range(ROOM))

    assert sorted(elements(numbers, count)) == sorted((key(n), value(n)) for n in range(ROOM))


def test_slices_are_no_larger_than_asked_for(numbers: Map) -> None:
    """A walk in large enough slices is a walk in several, each within its bound."""
    fill(numbers, range(ROOM))

    sizes = [read for _, _, read in numbers.read_slices(16)]

    assert sum(sizes) == ROOM
    assert len(sizes) > 1
    assert all(0 < size <= 16 for size in sizes)


def test_walk_of_an_empty_map_has_no_slices(numbers: Map) -> None:
    """Nothing is handed out where there is nothing."""
    assert list(numbers.read_slices(16)) == []


def test_slices_share_their_memory(numbers: Map) -> None:
    """Walking allocates once: each slice lies where the one before lay."""
    fill(numbers, range(ROOM))

    assert len({id(values.obj) for _, values, _ in numbers.read_slices(16)}) == 1


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
        opened.set_flags("numbers", 1)  # BPF_F_NO_PREALLOC
        opened.load()

        assert opened.map("numbers").max_entries == 5
        assert fill(opened.map("numbers"), range(10)) == 5
        with pytest.raises(BpfError, match="cannot resize the BPF map numbers"):
            opened.resize("numbers", 6)
