"""The real engine, which also tells the sizes of all its tables; a program of its own.

python -m tests.bench.churned_engine CONFIGURATION      prints a line of JSON for every line that comes in
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import trio

from engine.config.load import Loaded, load
from engine.operations import Operations
from engine.runtime import serve_forever

DELAY_LOOKED_AT_S = 0.01


class Sizes(msgspec.Struct, frozen=True):
    """How many entries each table has."""

    sessions: int
    half_open: int
    flows: int
    records: int
    """Of persistence."""
    spis: int
    esp_spis: int
    client_addresses: int
    newcomers: int
    deadlines: int
    snat_sources: int
    without_socket: int
    sockets: int
    """Towards real servers."""
    kernel_flows: int


class Sample(msgspec.Struct, frozen=True):
    """The engine at one moment."""

    sizes: Sizes
    memory_blocks: int
    """What Python's allocator has handed out and not got back."""
    new_sessions: int
    """Since the start."""
    forwarded: int
    """Packets on either path since the start, both ways."""
    forwarded_fast: int
    """By the kernel."""
    worst_delay_ms: float
    """The latest that the event loop woke a timer, since the sample before."""
    drops: dict[str, int]
    """Datagrams not forwarded since the start, by reason."""


class Delay:
    """How late the event loop wakes who sleeps."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            due_s = trio.current_time() + DELAY_LOOKED_AT_S
            await trio.sleep_until(due_s)
            self.worst_s = max(self.worst_s, trio.current_time() - due_s)


def take_sample(operations: Operations, delay: Delay) -> Sample:
    """Count everything."""
    status, forwarder = operations.status(), operations._forwarder
    services = list(operations._deployment.services.values())
    servers = [server for service in services for server in service.servers.values()]
    sizes = Sizes(
        sessions=status.sessions,
        half_open=status.half_open,
        flows=status.flows,
        records=sum(len(service.persistence) for service in services),
        spis=sum(len(service.by_spi) for service in services),
        esp_spis=sum(len(service.by_esp) for service in services),
        client_addresses=sum(len(service.by_host) for service in services),
        newcomers=sum(service.newcomers.half_open for service in services),
        deadlines=forwarder.table.deadlines,
        snat_sources=sum(len(server.source_use) for server in servers),
        without_socket=len(forwarder.upstreams.disguised),
        sockets=len(forwarder.upstreams),
        kernel_flows=status.kernel.flows,
    )
    traffic = [service.traffic for service in status.services]
    drops: dict[str, int] = {}
    for service in status.services:
        for reason, count in service.drops.items():
            drops[reason] = drops.get(reason, 0) + count
    worst_s, delay.worst_s = delay.worst_s, 0.0
    return Sample(
        sizes=sizes,
        memory_blocks=sys.getallocatedblocks(),
        new_sessions=sum(service.new_sessions for service in services),
        forwarded=sum(part.packets_in + part.packets_out for part in traffic),
        forwarded_fast=status.kernel.forwarded,
        worst_delay_ms=1e3 * worst_s,
        drops=drops,
    )


async def perform(configuration: Path) -> None:
    """Run the engine until it is told to stop."""
    delay = Delay()
    async with trio.open_nursery() as nursery:
        operations = await nursery.start(_serve, load(configuration), nursery.cancel_scope)
        nursery.start_soon(delay.watch)
        async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            print(msgspec.json.encode(take_sample(operations, delay)).decode(), flush=True)


async def _serve(loaded: Loaded, everything: trio.CancelScope, *, task_status: trio.TaskStatus[Operations]) -> None:
    """Serve until a signal, which ends everything."""
    await serve_forever(loaded, task_status=task_status)
    everything.cancel()


if __name__ == "__main__":
    trio.run(perform, Path(sys.argv[1]))
