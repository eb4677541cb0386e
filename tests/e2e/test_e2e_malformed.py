"""The engine under a million malformed datagrams, as its operator and its honest clients see it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random

import pytest
import trio
from malformed.client import Client
from malformed.garbage import Datagram, Garbage, Strangers
from malformed.world import FROM_SERVERS, free_ports, running_engine

from engine.control.records import SessionQuery
from engine.control.status import EngineStatus
from ikeconsole.client import ControlClient, connect

sys.path.append(str(Path(__file__).parents[1] / "engine" / "wire"))
from wire_pcap import CAPTURES, datagrams

MALFORMED = 1_000_000
WARM_UP = 400_000
"""By then the tables are as full as they get: sessions, flows, and what is kept of each source."""
BATCH = 1_000
STRANGERS_PORTS = 16
CLIENTS = [f"127.9.0.{number}" for number in range(1, 9)]
CLIENTS_NETWORK = "127.9.0.0/24"
MAX_SESSIONS = 2_500
MAX_OPEN_SOCKETS = 2_000
FILES_BESIDE_SOCKETS = 32
MAX_GROWTH_BYTES = 8 << 20
QUIET_ROUNDS = 50
STATUS_TIMEOUT_S = 1.0
ACCOUNTED_TIMEOUT_S = 10.0
DISTURBING = 2
"""Of each client's share of a batch, how much comes from its own address and port."""
MAX_LOST = 0.01
"""Share of honest packets: the kernel's receive buffers are shared with the flood."""
REASONS = {
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
        """What the engine has forwarded to servers, demanded a cookie for, or dropped by reason."""
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
        self.processed = service.traffic.packets_in + service.challenge.sent + sum(from_clients)
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
    async with AsyncExitStack() as stack:
        engine = stack.enter_context(
            running_engine(tmp_path, free_ports(), max_sessions=MAX_SESSIONS, max_open_sockets=MAX_OPEN_SOCKETS)
        )
        control = await stack.enter_async_context(connect(engine.control_socket))
        strangers = stack.enter_context(closing(Strangers(rng, engine.ike, engine.nat_t, STRANGERS_PORTS)))
        clients = [stack.enter_context(closing(Client(address, engine.ike, engine.nat_t, rng))) for address in CLIENTS]
        tunnels = await _tunnels(control)
        assert len(tunnels) == len(clients)
        account = Account(control)
        await account.look()
        account.sent = before = account.processed

        warm_bytes = 0
        while account.processed - before < MALFORMED + sum(client.sent for client in clients):
            batch = garbage.batch(BATCH)
            await account.settle()
            if not warm_bytes and account.processed > WARM_UP:
                warm_bytes = engine.rss_bytes()
            _rain(batch, strangers, clients)
            account.sent += len(batch) + len(clients)
        await account.settle()

        assert engine.rss_bytes() - warm_bytes < MAX_GROWTH_BYTES
        assert engine.open_files() <= MAX_OPEN_SOCKETS + FILES_BESIDE_SOCKETS
        assert account.drops.keys() >= REASONS
        assert await _tunnels(control) == tunnels
        assert await _lost(clients) <= MAX_LOST * sum(client.sent for client in clients)
        for client in clients:
            client.check_liveness()
            assert all(client.hears_itself() for _ in range(QUIET_ROUNDS))
    assert "Traceback" not in engine.log.read_text()


def _rain(batch: list[Datagram], strangers: Strangers, clients: Sequence[Client]) -> None:
    """Send garbage from strangers, some from where the clients are, and a packet of each client amid it."""
    step = len(batch) // len(clients)
    for number, client in enumerate(clients):
        part = batch[number * step : (number + 1) * step]
        client.disturb(part[:DISTURBING])
        strangers.send(part[DISTURBING:])
        client.talk()
        client.listen()


def _real_datagrams() -> Iterator[Datagram]:
    for capture in sorted(CAPTURES.glob("*.pcap")):
        for datagram in datagrams(capture):
            if datagram.payload:
                yield datagram.nat_t, datagram.payload


async def _tunnels(control: ControlClient) -> list[tuple[int, str, str, str, str]]:
    """The clients' sessions: what must not change while they live."""
    page = await control.sessions(SessionQuery(client=CLIENTS_NETWORK, sort="client", phase="established"))
    return [(row.id, row.client, row.server, row.spi_i, row.spi_r) for row in page.rows]


async def _lost(clients: Sequence[Client]) -> int:
    """How many echoes are missing once all that are under way have come."""
    with trio.move_on_after(1):
        while any(client.echoed < client.sent for client in clients):
            await trio.sleep(0.01)
            for client in clients:
                client.listen()
    return sum(client.sent - client.echoed for client in clients)
