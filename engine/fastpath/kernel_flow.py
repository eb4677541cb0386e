"""A flow that the kernel has: where it is, and what of its counting has been written down."""

from __future__ import annotations

from engine.fastpath.entries import Entries
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import age_s
from engine.sessions import esp
from engine.sessions.flow import Flow

_PACKETS_MASK = 0xFFFF_FFFF


class KernelFlow:
    """The two slots of a flow, one for each direction."""

    __slots__ = (
        "flow",
        "from_client",
        "from_server",
        "packets_in",
        "packets_out",
        "size_in",
        "size_out",
        "source",
        "table",
    )

    def __init__(self, flow: Flow, table: FlowTable, from_client: int, from_server: int) -> None:
        self.flow = flow
        self.source = flow.source
        """From where its entries have it sent on."""
        self.table = table
        self.from_client = from_client
        self.from_server = from_server
        self.packets_in = self.size_in = 0
        """What the kernel had counted when it was last read."""
        self.packets_out = self.size_out = 0

    def has_entries(self, wanted: Entries) -> bool:
        """Whether these are what the kernel has of it."""
        return self.table.read(self.from_client)[:2] == (wanted.from_client, wanted.to_server)

    def go_on(self) -> None:
        """Go on counting, of a flow that was there before this engine.

        What was saved of its counters may be old, and nobody counted while no engine was there: it has had at least
        what the kernel forwarded of it.
        """
        flow, table = self.flow, self.table
        self.packets_in, self.size_in = table.packets[self.from_client], table.size_bytes[self.from_client]
        self.packets_out, self.size_out = table.packets[self.from_server], table.size_bytes[self.from_server]
        flow.packets_in, flow.bytes_in = max(flow.packets_in, self.packets_in), max(flow.bytes_in, self.size_in)
        flow.packets_out, flow.bytes_out = max(flow.packets_out, self.packets_out), max(flow.bytes_out, self.size_out)
        flow.change_path(fast=self.packets_in + self.packets_out > 0)

    def has_news(self) -> bool:
        """Whether anything has passed since the kernel was last read."""
        packets = self.table.packets
        return packets[self.from_client] != self.packets_in or packets[self.from_server] != self.packets_out

    def credit(self, now_ticks: int, now_s: float) -> bool:
        """Add to the flow what the kernel has counted since, and the SPIs that it saw last.

        False: what came from the client last is another tunnel's (see `esp.learn_inward`).
        """
        flow, table = self.flow, self.table
        from_client, from_server = self.from_client, self.from_server
        packets_in, packets_out = table.packets[from_client], table.packets[from_server]
        if packets_in != self.packets_in:
            size_in = table.size_bytes[from_client]
            flow.packets_in += (packets_in - self.packets_in) & _PACKETS_MASK
            flow.bytes_in += size_in - self.size_in
            self.packets_in, self.size_in = packets_in, size_in
            at_s = now_s - age_s(table.last_used[from_client], now_ticks)
            if at_s > flow.last_in_s:
                flow.last_in_s = at_s
            if not flow.fast:
                flow.change_path(fast=True)
        if packets_out != self.packets_out:
            size_out = table.size_bytes[from_server]
            flow.packets_out += (packets_out - self.packets_out) & _PACKETS_MASK
            flow.bytes_out += size_out - self.size_out
            self.packets_out, self.size_out = packets_out, size_out
            at_s = now_s - age_s(table.last_used[from_server], now_ticks)
            if at_s > flow.last_out_s:
                flow.last_out_s = at_s
            if not flow.fast:
                flow.change_path(fast=True)
        inward, outward = table.esp_words[from_client], table.esp_words[from_server]
        if outward and outward not in flow.esp_out:
            esp.learn_outward(flow, outward)
        if inward and inward not in flow.esp_in:
            esp.learn_inward(flow, inward, now_s)
            return inward in flow.esp_in
        return True
