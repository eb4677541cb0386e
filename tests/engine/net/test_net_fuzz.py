"""Tens of thousands of random and mutilated datagrams from clients and servers: nothing breaks, nothing grows."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from engine.config.schema import PersistenceKind
from engine.sessions.flow import Port, SocketAddress
from engine.sessions.session import Phase
from tests.engine.sessions.session_world import (
    KEEPALIVE,
    NAT_T,
    World,
    audit,
    auth,
    auth_answer,
    cookie_demand,
    create_child,
    esp,
    informational,
    init,
    init_answer,
)
from tests.engine.wire.wire_pcap import CAPTURES, datagrams

DATAGRAMS = 30_000
MAX_SESSIONS = 200
ESTABLISHED = 20

BUILDERS: list[Callable[[int], bytes]] = [
    init,
    init_answer,
    cookie_demand,
    auth,
    auth_answer,
    informational,
    create_child,
    lambda spi: bytes(4) + init(spi),
    lambda spi: esp(spi & 0xFFFF_FFFF),
    lambda spi: KEEPALIVE,
]


def real_datagrams() -> list[bytes]:
    return [datagram.payload for path in sorted(CAPTURES.glob("*.pcap")) for datagram in datagrams(path)]


class Noise:
    """Random bytes, messages with random SPIs, and real messages with bytes changed, cut off or added."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._real = real_datagrams()

    def datagram(self) -> bytes:
        draw = self.random
        kind = draw.randrange(4)
        if kind == 0:
            return draw.randbytes(draw.choice((0, 1, 2, 4, 8, 27, 28, 31, 32, 33, 100, 1500)))
        if kind == 1:
            return draw.choice(BUILDERS)(draw.randrange(1, 1 << draw.choice((4, 16, 64))))
        mutant = bytearray(draw.choice(self._real))
        for _ in range(draw.randrange(4)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        if kind == 2:
            return bytes(mutant[: draw.randrange(len(mutant) + 1)])
        return bytes(mutant) + draw.randbytes(draw.randrange(8))

    def client(self) -> SocketAddress:
        draw = self.random
        if draw.randrange(2):
            return (f"203.0.113.{draw.randrange(4)}", draw.choice((500, 4500, 1024, 1025)))
        return (f"100.64.{draw.randrange(256)}.{draw.randrange(256)}", draw.randrange(1, 65_536))


@pytest.mark.parametrize(("seed", "kind"), list(enumerate(PersistenceKind)))
def test_noise_breaks_nothing(seed: int, kind: PersistenceKind) -> None:
    """Established sessions stay what and where they were, tables stay within bounds, every drop has a reason."""
    world = World(servers="abc", max_sessions=MAX_SESSIONS, max_records=MAX_SESSIONS, persistence=kind)
    established = {
        world.connect(f"198.51.100.{number}", 0x5AFE_0000_0000_0000 + number): number for number in range(ESTABLISHED)
    }
    servers = {session: session.server for session in established}
    noise = Noise(seed)
    for number in range(DATAGRAMS):
        client, port = noise.client(), noise.random.choice(list(Port))
        passed_before = len(world.upstreams.sent)
        dropped_before = world.service.drops.total()
        world.client_sends(client, port, noise.datagram())
        passed = len(world.upstreams.sent) - passed_before
        assert passed + world.service.drops.total() - dropped_before == 1
        flows = world.service.flows[port]
        if flows and number % 3 == 0:
            answered = next(reversed(flows))
            world.server_sends(answered, port, noise.datagram())
        if number % 100 == 0:
            world.later(0.5)
            for session in established:
                world.client_sends((session.host, 4500), NAT_T, esp())
            world.upstreams.sent.clear()
        if number % 2000 == 0:
            audit(world)
    audit(world)
    assert {session: session.server for session in established} == servers
    assert all(session.phase is Phase.ESTABLISHED for session in established)
    assert len(world.sessions()) <= MAX_SESSIONS
    assert world.table.deadlines <= 5 * MAX_SESSIONS
    assert len(world.service.drops) < 30
    world.later(30 * 24 * 3600)
    assert not world.sessions()
    assert world.table.flow_count == 0
    audit(world)


def test_noise_on_the_flow_of_a_session_leaves_it_established() -> None:
    """Whoever can forge a client's own address and port can waste its bandwidth, but not end its session."""
    world = World(max_sessions=MAX_SESSIONS)
    session = world.connect("198.51.100.1", 0x5AFE)
    noise = Noise(7)
    for number in range(10_000):
        world.client_sends(("198.51.100.1", noise.random.choice((500, 4500))), NAT_T, noise.datagram())
        if number % 500 == 0:
            world.later(10)
            audit(world)
    assert session in world.sessions()
    assert world.service.by_spi[0x5AFE] is session
    assert session.phase is Phase.ESTABLISHED
