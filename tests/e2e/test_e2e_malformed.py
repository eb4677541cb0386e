"""The engine under a million malformed datagrams, as its operator and its honest clients see it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random

import pytest
import trio
from malformed.client import Client
from malformed.garbage import Datagram, Garbage, Strangers
from malformed.world import FROM_SERVERS, Engine, free_ports, running_engine

from engine.control.records import EngineStatus, SessionQuery, SessionRow
from ikeconsole.client import ControlClient, EngineUnreachable, connect

sys.path.append(str(Path(__file__).parents[1] / "engine" / "wire"))
from wire_pcap import CAPTURES, datagrams  # noqa: E402

MALFORMED = 1_000_000
WARM_UP = 200_000
BATCH = 1_000
STRANGERS_PORTS = 16
CLIENTS = [f"127.9.0.{number}" for number in range(1, 9)]
CLIENTS_NETWORK = "127.9.0.0/24"
MAX_SESSIONS = 5_000
MAX_OPEN_SOCKETS = 2_000
FILES_BESIDE_SOCKETS = 32
MAX_GROWTH_BYTES = 8 << 20
QUIET_ROUNDS = 50
STARTED_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 1.0
ACCOUNTED_TIMEOUT_S = 10.0
FLOOD_REASONS = {
    "bad-length",
    "ike-v1",
    "ike-version",
    "keepalive-without-flow",
    "runt",
    "stray-response",
    "truncated",
    "zero-spi",
}


class Account:
    """What was sent to the engine, and what it says became of it."""

    def __init__(self, control: ControlClient) -> None:
        self.sent = 0
        self.processed = 0
        """What the engine has forwarded to servers, or dropped by reason."""
        self.overflowed = 0
        """What the kernel dropped before the engine saw it."""
        self.drops: dict[str, int] = {}
        self.status: EngineStatus
        self._control = control

    async def look(self) -> None:
        """Ask the engine, which owes an answer within a second however much comes in, and check its bounds."""
        with trio.fail_after(STATUS_TIMEOUT_S):
            self.status = await self._control.status()
        (service,) = self.status.services
        self.drops = dict(service.drops)
        self.overflowed = self.drops.pop("receive-buffer-full", 0)
        from_clients = (count for reason, count in self.drops.items() if not reason.startswith(FROM_SERVERS))
        self.processed = service.traffic.packets_in + sum(from_clients)
        assert self.status.sessions <= MAX_SESSIONS
        assert self.status.open_sockets <= MAX_OPEN_SOCKETS

    async def settle(self) -> None:
        """Wait until everything sent is accounted for, nothing left out and nothing counted twice."""
        with trio.move_on_after(ACCOUNTED_TIMEOUT_S):
            await self.look()
            while self.processed + self.overflowed < self.sent:
                await self.look()
        assert self.processed + self.overflowed == self.sent


@pytest.mark.slow
@pytest.mark.trio
async def test_a_million_malformed_datagrams_are_counted_and_leave_honest_clients_alone(tmp_path: Path) -> None:
    """Alive, answering, bounded, exact in its counting; and every tunnel as it was before the flood."""
    rng = Random("a million ways to be wrong")
    garbage = Garbage(rng, list(_real_datagrams()))
    limits = {"max_sessions": MAX_SESSIONS, "max_open_sockets": MAX_OPEN_SOCKETS}
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine(tmp_path, free_ports(), **limits))
        control = await stack.enter_async_context(_control(engine))
        strangers = stack.enter_context(closing(Strangers(rng, engine.ike, engine.nat_t, STRANGERS_PORTS)))
        clients = [
            stack.enter_context(closing(Client(address, engine.ike, engine.nat_t, rng))) for address in CLIENTS
        ]
        account = Account(control)
        await account.look()
        account.sent = account.processed
        before = await _tunnels(control)

        warm_rss_bytes = 0
        flooded = 0
        while account.processed < MALFORMED + sum(client.sent for client in clients):
            batch = garbage.batch(BATCH)
            await account.settle()
            _rain(batch, strangers, clients)
            account.sent += len(batch) + len(clients)
            flooded += len(batch)
            if flooded == WARM_UP:
                warm_rss_bytes = engine.rss_bytes()
        await account.settle()

        assert engine.rss_bytes() - warm_rss_bytes < MAX_GROWTH_BYTES
        assert engine.open_files() <= MAX_OPEN_SOCKETS + FILES_BESIDE_SOCKETS
        assert account.drops.keys() >= FLOOD_REASONS
        assert _identity(await _tunnels(control)) == _identity(before)
        lost = await _lost(clients)
        assert lost <= account.overflowed
        for _ in range(QUIET_ROUNDS):
            assert all(client.hears_itself() for client in clients)
        for client in clients:
            client.check_liveness()
    assert "Traceback" not in engine.log.read_text()
