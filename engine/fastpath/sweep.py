"""Reads the kernel's counters of all flows, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from engine.fastpath.layout import LAST_USED_WORD, PACKETS_WORD, FlowLayout, tick_now
from engine.fastpath.ledger import Ledger

SLICE = 1_024
"""Elements read at once: about a millisecond."""


class Readable(Protocol):
    """A map that can be walked."""

    def read_slices(self, count: int) -> Iterator[tuple[memoryview, memoryview, int]]:
        """Keys, values and number of elements, about `count` at a time; the buffers are used again."""
        ...


def sweep(maps: Mapping[FlowLayout, Readable], ledger: Ledger, now_s: float) -> Iterator[int]:
    """Add what the kernel has counted to every flow, a slice for each turn; yields how many elements it read."""
    for layout, flows in maps.items():
        words, sizes = layout.value_words, layout.value_words // 2
        for _, values, count in flows.read_slices(SLICE):
            now_ticks = tick_now()
            fields = values[: count * layout.value_bytes].cast("I")
            long_fields = values[: count * layout.value_bytes].cast("Q")
            numbers = fields[words - 1 :: words].tolist()
            packets = fields[PACKETS_WORD::words].tolist()
            seen = ledger.packets
            for at, (number, counted) in enumerate(zip(numbers, packets, strict=True)):
                if counted != seen[number]:
                    ledger.credit(
                        number,
                        counted,
                        long_fields[at * sizes],
                        fields[at * words + LAST_USED_WORD],
                        now_ticks=now_ticks,
                        now_s=now_s,
                    )
            yield count
