"""The kernel's tables as plain memory, and an engine's session table over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import (
    FLOW_V4,
    FLOW_V6,
    PROBES,
    STATE_AT,
    TOTAL,
    TRACK,
    FlowLayout,
    State,
    tick_now,
)
from engine.fastpath.reconciler import Reconciler
from engine.fastpath.totals import Totals
from engine.sessions.fast_path import Carried
from engine.sessions.flow import Flow
from engine.sessions.real_server import RealServer

SEEDS = 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3211


class KernelDouble:
    """What the program sees, and what the engine keeps of it."""

    def __init__(self, slots: int = 64) -> None:
        self.now_s = 0.0
        self.memory: dict[FlowLayout, bytearray] = {}
        self.tables: dict[FlowLayout, FlowTable] = {}
        for layout in (FLOW_V4, FLOW_V6):
            memory = self.memory[layout] = bytearray((slots + PROBES) * layout.flow_bytes)
            self.tables[layout] = FlowTable(layout, memoryview(memory), slots, SEEDS, lambda: self.now_s)
        self.totals = defaultdict[int, list[bytes]](lambda: [bytes(TOTAL.size), bytes(TOTAL.size)])
        self.servers = Totals(self.totals.__getitem__)
        self.reconciler = Reconciler(self.tables, self.servers, lambda flow, now_s: self._carried(flow, now_s))
        self._carried: Carried = lambda flow, now_s: None

    def tell(self, carried: Carried) -> None:
        self._carried = carried

    def offer(self, flow: Flow) -> None:
        self.reconciler.offer(flow)

    def refresh(self, flow: Flow, now_s: float) -> None:
        self.reconciler.refresh(flow, now_s)

    def count(self, server: RealServer) -> None:
        pass

    def abandon(self, server: RealServer, now_s: float) -> Iterable[int]:
        return self.reconciler.abandon(server, now_s)

    def tunnels_begin(self, now_s: float) -> None:
        self.reconciler.begin(now_s)

    def at_rest(self, now_s: float) -> None:
        self.settle(now_s)

    def settle(self, now_s: float) -> None:
        """Let the reconciler finish; slots that were left have cooled down by then."""
        self.now_s += 1
        while self.reconciler.step(now_s):
            pass

    def tuples(self) -> dict[bytes, bytes]:
        """What every tuple becomes that the program finds."""
        return {
            record[: layout.tuple_bytes]: record[layout.tuple_bytes : 2 * layout.tuple_bytes]
            for layout in self.memory
            for _, record in self._live(layout)
        }

    def forward(self, comes: bytes, size_bytes: int, *, age_ticks: int = 0, packets: int = 1, spi: int = 0) -> None:
        """Do what the program does with packets of a flow, on the second CPU."""
        for layout, memory in self.memory.items():
            for slot, record in self._live(layout):
                if record.startswith(comes) and len(comes) == layout.tuple_bytes:
                    at = slot * layout.flow_bytes + layout.track_at
                    *start, total, _, counted, last_spi, passed = TRACK.unpack_from(memory, at)
                    used = (tick_now() - age_ticks) & 0xFFFF
                    shown = spi.to_bytes(4) if spi else last_spi
                    counted = (counted + packets) & 0xFFFFFFFF
                    TRACK.pack_into(memory, at, *start, total, used, counted, shown, passed + size_bytes)
                    first, second = self.totals[total]
                    so_far = TOTAL.unpack(second)
                    self.totals[total] = [first, TOTAL.pack(so_far[0] + packets, so_far[1] + size_bytes)]
                    return
        raise AssertionError("the program does not find this tuple")

    def _live(self, layout: FlowLayout) -> list[tuple[int, bytes]]:
        memory = self.memory[layout]
        slots = range(len(memory) // layout.flow_bytes)
        records = ((slot, bytes(memory[slot * layout.flow_bytes : (slot + 1) * layout.flow_bytes])) for slot in slots)
        return [(slot, record) for slot, record in records if record[layout.track_at + STATE_AT] == State.LIVE]
