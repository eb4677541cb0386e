"""Which flows the kernel has, and what of its counting has been written down."""

from __future__ import annotations

from engine.fastpath.layout import age_s
from engine.sessions.flow import Flow

FROM_CLIENT, FROM_SERVER = 0, 1
_PACKETS_MASK = 0xFFFFFFFF


class Ledger:
    """Numbers the flows that the kernel has, and adds what it counted to them.

    A direction of a flow goes by twice the flow's number, plus one on the way to the client; the kernel's entry has it.
    """

    def __init__(self) -> None:
        self.flows: list[Flow | None] = []
        self.packets: list[int] = []
        """What the kernel had counted when it was last read, by direction."""
        self.size_bytes: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.flows) - len(self._free)

    def enter(self, flow: Flow) -> int:
        """Give a flow a number."""
        if self._free:
            number = self._free.pop()
            self.flows[number] = flow
        else:
            number = len(self.flows)
            self.flows.append(flow)
            self.packets += (0, 0)
            self.size_bytes += (0, 0)
        for direction in (2 * number, 2 * number + 1):
            self.packets[direction] = self.size_bytes[direction] = 0
        return number

    def leave(self, number: int) -> None:
        """Take a number back; the kernel has no entry of it any more."""
        self.flows[number] = None
        self._free.append(number)

    def credit(
        self, direction: int, packets: int, size_bytes: int, last_used: int, *, now_ticks: int, now_s: float
    ) -> None:
        """Add to a flow what the kernel has counted since it was last read."""
        flow = self.flows[direction >> 1]
        if flow is None:
            return
        more_packets = (packets - self.packets[direction]) & _PACKETS_MASK
        if not more_packets:
            return
        more_bytes = size_bytes - self.size_bytes[direction]
        self.packets[direction] = packets
        self.size_bytes[direction] = size_bytes
        seen_s = now_s - age_s(last_used, now_ticks)
        flow.change_path(fast=True)
        if direction & 1 == FROM_CLIENT:
            flow.packets_in += more_packets
            flow.bytes_in += more_bytes
            flow.last_in_s = max(flow.last_in_s, seen_s)
        else:
            flow.packets_out += more_packets
            flow.bytes_out += more_bytes
            flow.last_out_s = max(flow.last_out_s, seen_s)
