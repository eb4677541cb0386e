"""The kernel's maps as dictionaries, and an engine's session table over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from struct import Struct

from engine.fastpath.layout import ACCOUNT, FLOW_V4, FLOW_V6, TOTAL, FlowLayout, tick_now
from engine.fastpath.ledger import Ledger
from engine.fastpath.reconciler import Reconciler
from engine.fastpath.totals import Totals
from engine.sessions.flow import Flow

_NUMBER = Struct("=I")


class MapDouble:
    """A hash map with room for so many elements."""

    def __init__(self, layout: FlowLayout, room: int) -> None:
        self.layout = layout
        self.room = room
        self.elements: dict[bytes, bytes] = {}

    def lookup(self, key: bytes) -> bytes | None:
        return self.elements.get(key)

    def update_batch(self, keys: bytes, values: bytes, count: int) -> int:
        assert (len(keys), len(values)) == (count * self.layout.key_bytes, count * self.layout.value_bytes)
        for at in range(count):
            key = keys[at * self.layout.key_bytes : (at + 1) * self.layout.key_bytes]
            if key not in self.elements and len(self.elements) >= self.room:
                return at
            self.elements[key] = values[at * self.layout.value_bytes : (at + 1) * self.layout.value_bytes]
        return count

    def delete_batch(self, keys: bytes, count: int) -> int:
        assert len(keys) == count * self.layout.key_bytes
        each = [keys[at : at + self.layout.key_bytes] for at in range(0, len(keys), self.layout.key_bytes)]
        return sum(self.elements.pop(key, None) is not None for key in each)

    def read_slices(self, count: int) -> Iterator[tuple[memoryview, memoryview, int]]:
        items = list(self.elements.items())
        for at in range(0, len(items), count):
            part = items[at : at + count]
            keys, values = b"".join(key for key, _ in part), b"".join(value for _, value in part)
            yield memoryview(keys), memoryview(values), len(part)


class KernelDouble:
    """The maps of the program, and what the engine keeps of them."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.maps = {layout: MapDouble(layout, room) for layout in (FLOW_V4, FLOW_V6)}
        self.totals = defaultdict[int, list[bytes]](lambda: [bytes(TOTAL.size), bytes(TOTAL.size)])
        self.ledger = Ledger()
        self.servers = Totals(self.totals.__getitem__)
        self.reconciler = Reconciler(self.maps, self.ledger, self.servers)

    def offer(self, flow: Flow) -> None:
        self.reconciler.offer(flow)

    def refresh(self, flow: Flow, now_s: float) -> None:
        self.reconciler.refresh(flow, now_s)

    def at_rest(self, now_s: float) -> None:
        self.settle(now_s)

    def settle(self, now_s: float) -> None:
        while self.reconciler.step(now_s):
            pass

    def tuples(self) -> dict[bytes, bytes]:
        """What every tuple in the kernel becomes."""
        return {
            key: value[-_NUMBER.size - layout.key_bytes : -_NUMBER.size]
            for layout, kept in self.maps.items()
            for key, value in kept.elements.items()
        }

    def forward(self, key: bytes, size_bytes: int, *, age_ticks: int = 0) -> None:
        """Do what the program does with one packet of a flow, on the second CPU."""
        kept = next(kept for kept in self.maps.values() if key in kept.elements)
        value = kept.elements[key]
        passed, packets, _, spi, total = ACCOUNT.unpack_from(value)
        last_used = (tick_now() - age_ticks) & 0xFFFFFFFF
        account = ACCOUNT.pack(passed + size_bytes, (packets + 1) & 0xFFFFFFFF, last_used, spi, total)
        kept.elements[key] = account + value[ACCOUNT.size :]
        before, second = self.totals[total]
        so_far = TOTAL.unpack(second)
        self.totals[total] = [before, TOTAL.pack(so_far[0] + 1, so_far[1] + size_bytes)]
