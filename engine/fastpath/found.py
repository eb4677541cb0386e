"""The flows that the kernel has at the start of an engine: those that an earlier one left there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from engine.fastpath.entries import Entries
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import age_s, tick_now
from engine.sessions.fast_path import Forwarded
from engine.sessions.flow import SocketAddress

_PORT_BYTES = 2


@dataclass(frozen=True, slots=True)
class FoundFlow:
    """A flow, both ways, and where it is."""

    entries: Entries
    table: FlowTable
    from_client: int
    from_server: int
    total: int

    def described(self, now_ticks: int) -> Forwarded:
        """What it tells of its ends."""
        client, service = _ends(self.entries.from_client)
        source, server = _ends(self.entries.to_server)
        last_used = self.table.last_used
        return Forwarded(
            client=client,
            service=service,
            source=source,
            server=server,
            client_silent_s=age_s(last_used[self.from_client], now_ticks),
            server_silent_s=age_s(last_used[self.from_server], now_ticks),
            esp_in=self.table.esp_words[self.from_client],
            esp_out=self.table.esp_words[self.from_server],
            found=self,
        )


def found_flows(table: FlowTable) -> Iterator[FoundFlow]:
    """The flows of a table; what an engine that was killed had begun to write is removed."""
    now: dict[bytes, tuple[int, bytes, int]] = {}
    for slot in table.live():
        comes, becomes, total = table.read(slot)
        now[comes] = slot, becomes, total
    while now:
        comes, (slot, becomes, total) = now.popitem()
        other = now.pop(_reversed(becomes), None)
        if other is None or other[1] != _reversed(comes):
            table.remove(slot)
            if other is not None:
                table.remove(other[0])
        elif other[2] == total + 1:
            yield FoundFlow(_entries(table, comes, becomes), table, slot, other[0], total)
        elif total == other[2] + 1:
            yield FoundFlow(_entries(table, _reversed(becomes), other[1]), table, other[0], slot, other[2])
        else:
            table.remove(slot)
            table.remove(other[0])


def describe_all(flows: Iterator[FoundFlow]) -> list[Forwarded]:
    """What flows tell of their ends."""
    now_ticks = tick_now()
    return [flow.described(now_ticks) for flow in flows]


def _entries(table: FlowTable, from_client: bytes, to_server: bytes) -> Entries:
    return Entries(table.layout, from_client, to_server, _reversed(to_server), _reversed(from_client))


def _reversed(one: bytes) -> bytes:
    """The tuple of the answer to a packet."""
    size = _address_bytes(one)
    return one[size : 2 * size] + one[:size] + one[-_PORT_BYTES:] + one[2 * size : -_PORT_BYTES]


def _ends(one: bytes) -> tuple[SocketAddress, SocketAddress]:
    """Where a packet comes from, and where it goes."""
    size = _address_bytes(one)
    ports = one[2 * size :]
    return _end(one[:size], ports[:_PORT_BYTES]), _end(one[size : 2 * size], ports[_PORT_BYTES:])


def _end(address: bytes, port: bytes) -> SocketAddress:
    number = int.from_bytes(port, "big")
    if len(address) == 4:
        return socket.inet_ntop(socket.AF_INET, address), number
    return socket.inet_ntop(socket.AF_INET6, address), number, 0, 0


def _address_bytes(one: bytes) -> int:
    return (len(one) - 2 * _PORT_BYTES) // 2
