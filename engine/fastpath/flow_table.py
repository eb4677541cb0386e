"""The flows of one address family, in memory that the XDP program reads and counts in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from engine.fastpath.layout import (
    BYTES_AT,
    ESP_SPI_AT,
    FLOW_V4,
    LAST_USED_AT,
    PACKETS_AT,
    PROBES,
    STATE_AT,
    TOTAL_AT,
    FlowLayout,
    State,
)

COOLING_S: Final = 0.05
"""A slot is not used again so soon: the program may still be at work on the packet that it last looked up there."""

# To look up an enumeration's member by name costs as much as a hash table's.
_EMPTY, _LIVE, _GONE = State.EMPTY, State.LIVE, State.GONE

_TOTAL = Struct("=H")
_TUPLE_V4 = Struct("<QI")
_TUPLE_V6 = Struct("<QQQQI")
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN, _STAFFORD = 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9


class FlowTable:
    """Open addressing, as `find_v4` and `find_v6` of the program search it; written by this process alone.

    The kernel's own hash tables cost the program three dependent cache misses and two of the TLB for a packet, this
    one a single miss each: with 100 000 clients that is a third of all that a packet costs.

    The program runs meanwhile. A flow is written while its slot says that it is not there, then one byte makes it
    seen; a flow is removed by one byte, too.
    """

    def __init__(
        self,
        layout: FlowLayout,
        memory: memoryview,
        slots: int,
        seeds: tuple[int, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`slots`, a power of two, is how many a hash can point to; `memory` holds `PROBES` more."""
        track, size = layout.track_at, layout.flow_bytes
        self.layout = layout
        self._memory = memory
        self._mask = slots - 1
        self._seeds = seeds
        self._clock = clock
        self._states = memory[track + STATE_AT :: size]
        self.packets = memory.cast("I")[(track + PACKETS_AT) // 4 :: size // 4]
        """What has passed, by slot; modulo 2^32."""
        self.size_bytes = memory.cast("Q")[(track + BYTES_AT) // 8 :: size // 8]
        self.last_used = memory.cast("H")[(track + LAST_USED_AT) // 2 :: size // 2]
        """In ticks."""
        self.esp_words = memory.cast("I")[(track + ESP_SPI_AT) // 4 :: size // 4]
        """The first word of the latest ESP, as the machine reads it; 0: none has passed."""
        self._cooling: OrderedDict[int, float] = OrderedDict()
        """When slots that were left can be used again, the soonest first."""

    def insert(self, comes: bytes, becomes: bytes, total: int, now_ticks: int) -> int | None:
        """Have packets of one tuple become those of another, counted in a place of `totals`; returns the flow's slot.

        None: all slots where the program would look for it are taken. The tuple must not be in the table yet.
        """
        states, cooling = self._states, self._cooling
        first = self._hash(comes) & self._mask
        for slot in range(first, first + PROBES):
            if states[slot] == _LIVE:
                continue
            if slot in cooling and cooling[slot] > self._clock():
                states[slot] = _GONE  # a search must go on to what lies behind it
                continue
            layout = self.layout
            at = slot * layout.flow_bytes
            # In one piece, and with a state that has a search go on, too.
            self._memory[at : at + layout.flow_bytes] = layout.record.pack(comes, becomes, _GONE, total, now_ticks)
            states[slot] = _LIVE
            return slot
        return None

    def remove(self, slot: int) -> None:
        """Have the program pass up the packets of a flow."""
        now_s = self._clock()
        while self._cooling and next(iter(self._cooling.values())) <= now_s:
            self._cooling.popitem(last=False)
        self._cooling[slot] = now_s + COOLING_S
        states = self._states
        states[slot] = _GONE
        if slot + 1 < len(states) and states[slot + 1] != _EMPTY:
            return
        # Nothing lies behind it: searches may end here again, and at those that were left before it.
        while slot >= 0 and states[slot] == _GONE:
            states[slot] = _EMPTY
            slot -= 1

    def live(self) -> Iterator[int]:
        """The slots that the program finds flows in."""
        states, live = self._states.tobytes(), bytes([_LIVE])
        slot = states.find(live)
        while slot >= 0:
            yield slot
            slot = states.find(live, slot + 1)

    def read(self, slot: int) -> tuple[bytes, bytes, int]:
        """A flow as `insert` was given it: what comes, what that becomes, and where it is counted."""
        size, at = self.layout.tuple_bytes, slot * self.layout.flow_bytes
        (total,) = _TOTAL.unpack_from(self._memory, at + self.layout.track_at + TOTAL_AT)
        return bytes(self._memory[at : at + size]), bytes(self._memory[at + size : at + 2 * size]), total

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._states, self.packets, self.size_bytes, self.last_used, self.esp_words, self._memory):
            view.release()

    def _hash(self, comes: bytes) -> int:
        word: int
        ports: int
        value, multiplier = self._seeds
        if self.layout is FLOW_V4:
            word, ports = _TUPLE_V4.unpack(comes)
        else:
            *words, word, ports = _TUPLE_V6.unpack(comes)
            for before in words:
                value = ((value ^ before) * _GOLDEN) & _WORD
                value ^= value >> 32
        value = ((value ^ word) * _GOLDEN) & _WORD
        value = (((value ^ (value >> 32)) + ports) * multiplier) & _WORD
        return (((value ^ (value >> 29)) * _STAFFORD) & _WORD) >> 32
