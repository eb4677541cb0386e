"""The table of flows: whatever is put in and taken out, a search as the program makes it finds what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fastpath.flow_table import COOLING_S, FlowTable
from engine.fastpath.layout import FLOW_V4, FLOW_V6, PROBES, STATE_AT, FlowLayout, State

SLOTS = 16
SEEDS = 0x9E37_79B9_0000_0001, 0xDEAD_BEEF_0000_0003


class Seen:
    """A table, and a search of its memory that knows nothing of it but `layout.h`."""

    def __init__(self, layout: FlowLayout, slots: int = SLOTS) -> None:
        self.layout = layout
        self.slots = slots
        self.now_s = 0.0
        self.memory = bytearray((slots + PROBES) * layout.flow_bytes)
        self.table = FlowTable(layout, memoryview(self.memory), slots, SEEDS, lambda: self.now_s)

    def find(self, comes: bytes) -> bytes | None:
        """What a tuple becomes; None: the program passes it up."""
        first = self.hash(comes) % self.slots
        for slot in range(first, first + PROBES):
            at = slot * self.layout.flow_bytes
            record = self.memory[at : at + self.layout.flow_bytes]
            state = record[self.layout.track_at + STATE_AT]
            if state == State.EMPTY:
                return None
            if state == State.LIVE and record.startswith(comes):
                return bytes(record[len(comes) : 2 * len(comes)])
        return None

    def hash(self, comes: bytes) -> int:
        """As `hash_v4` and `hash_v6` of the program."""
        words = [int.from_bytes(comes[at : at + 8], "little") for at in range(0, len(comes) - 4, 8)]
        value = SEEDS[0]
        for word in words:
            value = (value ^ word) * 0x9E3779B97F4A7C15 % 2**64
            value ^= value >> 32
        value = (value + int.from_bytes(comes[-4:], "little")) * SEEDS[1] % 2**64
        return (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9 % 2**64 >> 32


def tuple_of(layout: FlowLayout, number: int) -> bytes:
    return number.to_bytes(4, "big") * (layout.tuple_bytes // 4)


LAYOUTS = pytest.mark.parametrize("layout", [FLOW_V4, FLOW_V6], ids=["v4", "v6"])
STEPS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0.0, COOLING_S / 2, COOLING_S * 2])), max_size=150)


@LAYOUTS
@given(steps=STEPS)
def test_the_program_finds_what_was_put_in_and_nothing_that_was_taken_out(
    layout: FlowLayout, steps: list[tuple[int, float]]
) -> None:
    seen = Seen(layout)
    slots: dict[int, int] = {}
    for number, wait_s in steps:
        seen.now_s += wait_s
        if number in slots:
            seen.table.remove(slots.pop(number))
        else:
            slot = seen.table.insert(tuple_of(layout, number), tuple_of(layout, number + 1_000), 0, 0)
            if slot is not None:
                slots[number] = slot
        for known in range(61):
            wanted = tuple_of(layout, known + 1_000) if known in slots else None
            assert seen.find(tuple_of(layout, known)) == wanted
    assert len(set(slots.values())) == len(slots)


@LAYOUTS
def test_an_emptied_table_ends_searches_at_once_again(layout: FlowLayout) -> None:
    seen = Seen(layout)
    for _ in range(3):
        taken = [seen.table.insert(tuple_of(layout, number), tuple_of(layout, 0), 0, 0) for number in range(20)]
        for slot in taken:
            if slot is not None:
                seen.table.remove(slot)
        seen.now_s += 1
    states = seen.memory[layout.track_at + STATE_AT :: layout.flow_bytes]
    assert set(states) == {State.EMPTY}


def test_a_slot_is_not_used_again_while_the_program_may_still_be_at_work_in_it() -> None:
    seen = Seen(FLOW_V4)
    slot = seen.table.insert(tuple_of(FLOW_V4, 1), tuple_of(FLOW_V4, 2), 0, 0)
    assert slot is not None
    seen.table.remove(slot)
    again = seen.table.insert(tuple_of(FLOW_V4, 1), tuple_of(FLOW_V4, 3), 0, 0)
    assert again is not None
    assert again != slot
    assert seen.find(tuple_of(FLOW_V4, 1)) == tuple_of(FLOW_V4, 3)
    seen.table.remove(again)
    seen.now_s += COOLING_S * 2
    assert seen.table.insert(tuple_of(FLOW_V4, 1), tuple_of(FLOW_V4, 4), 0, 0) == slot


def test_what_passed_is_read_by_slot_and_begins_at_nothing() -> None:
    seen = Seen(FLOW_V4)
    slot = seen.table.insert(tuple_of(FLOW_V4, 1), tuple_of(FLOW_V4, 2), 6, 1_234)
    assert slot is not None
    assert (seen.table.packets[slot], seen.table.size_bytes[slot], seen.table.last_used[slot]) == (0, 0, 1_234)
    at = slot * FLOW_V4.flow_bytes + FLOW_V4.track_at
    seen.memory[at + 24 : at + 28] = (7).to_bytes(4, "little")
    seen.memory[at + 32 : at + 40] = (9_000_000_000).to_bytes(8, "little")
    assert (seen.table.packets[slot], seen.table.size_bytes[slot]) == (7, 9_000_000_000)
