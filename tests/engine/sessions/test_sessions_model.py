"""Tunnels as their two ends know them, against the session table between them: it never takes one to another server."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from engine.config.schema import PersistenceKind, Source
from engine.sessions.flow import SocketAddress
from tests.engine.sessions.roaming_peers import Peers, Tunnel
from tests.engine.sessions.session_world import KEEPALIVE, NAT_T, World, assert_empty, audit, esp, informational, init

HOSTS = [f"198.51.100.{n}" for n in range(1, 6)]
"""NATs, each with any number of clients behind it."""
QUIET_S = 31.0
"""After this long without an answer an address and port can be given to somebody else."""

places = st.tuples(st.sampled_from(HOSTS), st.integers(4500, 4512))
which = st.integers(0, 1_000)


class Roaming(RuleBasedStateMachine):
    """Clients behind NATs that move, rekey, fall silent and come back, and an attacker who overhears them all."""

    @initialize(kind=st.sampled_from(list(PersistenceKind)), source=st.sampled_from(list(Source)))
    def begin(self, kind: PersistenceKind, source: Source) -> None:
        self.world = World(servers="abc", persistence=kind, source=source)
        self.world.now_s = 1_000.0
        self.peers = Peers(self.world)
        for number, host in enumerate(HOSTS):
            tunnel = self.peers.connect((host, 500), (host, 4500 + number))
            assert tunnel is not None
            self.client_sends_data(number)

    def free(self, place: SocketAddress) -> bool:
        """Whether a NAT may give a client this address and port."""
        flow = self.world.flow(place, NAT_T)
        taken = any(tunnel.place == place for tunnel in self.peers.tunnels)
        return not taken and (flow is None or self.world.now_s - flow.last_out_s > QUIET_S)

    def chosen(self, number: int) -> Tunnel:
        return self.peers.tunnels[number % len(self.peers.tunnels)]

    def promised(self, tunnel: Tunnel, *, shown: bool) -> bool:
        """Whether the client's next datagram must reach its server; `shown`: its SPI has been seen."""
        flow = self.world.flow(tunnel.place, NAT_T)
        if flow is None:
            return shown
        if flow.server.name == tunnel.server and flow.proven and self.world.now_s - flow.last_out_s < QUIET_S:
            return True
        # Whoever begins an IKE SA is not disturbed by a message of another one from the same address and port.
        begun = any(session.half_open and not session.anonymous for session in flow.sessions) and not flow.why
        return shown and not begun

    @rule(place=places)
    def connect(self, place: SocketAddress) -> None:
        if self.free(place) and self.world.flow(place, NAT_T) is None:
            self.peers.connect((place[0], place[1] + 10_000), place)

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which)
    def client_asks(self, number: int) -> None:
        tunnel = self.chosen(number)
        promised = self.promised(tunnel, shown=tunnel.pair_shown)
        reached = self.peers.ask(tunnel)
        assert reached == tunnel.server or not promised

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which)
    def client_sends_data(self, number: int) -> None:
        tunnel = self.chosen(number)
        # Whoever has overheard it can send it on a tunnel to another server, and then it names neither.
        servers = {session.server for session in self.world.service.by_esp.all(tunnel.esp_in)}
        promised = self.promised(tunnel, shown=tunnel.esp_shown and len(servers) == 1)
        reached = self.peers.send_data(tunnel)
        assert reached == tunnel.server or not promised

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which)
    def server_asks(self, number: int) -> None:
        self.peers.server_asks(self.chosen(number))

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which, place=places, says=st.sampled_from(["something", "data", "nothing"]))
    def client_moves(self, number: int, place: SocketAddress, says: str) -> None:
        if self.free(place):
            self.chosen(number).place = place
            if says == "data":
                self.client_sends_data(number)
            elif says == "something":
                self.client_asks(number)

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which)
    def rekey_data(self, number: int) -> None:
        self.peers.rekey_data(self.chosen(number))

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which, by_server=st.booleans())
    def rekey_ike(self, number: int, by_server: bool) -> None:
        self.peers.rekey_ike(self.chosen(number), by_server=by_server)

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which)
    def client_vanishes(self, number: int) -> None:
        self.peers.tunnels.remove(self.chosen(number))

    @precondition(lambda self: self.peers.overheard)
    @rule(number=which, place=places)
    def attacker_replays(self, number: int, place: SocketAddress) -> None:
        self.peers.replay(place, number)

    @precondition(lambda self: self.peers.tunnels)
    @rule(number=which, place=places, what=st.sampled_from(["init", "ike", "esp", "keepalive"]), spi=st.integers(1, 9))
    def attacker_forges(self, number: int, place: SocketAddress, what: str, spi: int) -> None:
        spi_i = self.chosen(number).pair[0]
        datagram = {
            "init": bytes(4) + init(spi_i),
            "ike": informational(spi_i if spi > 4 else spi),
            "esp": esp(spi),
            "keepalive": KEEPALIVE,
        }
        self.world.client_sends(place, NAT_T, datagram[what])

    @precondition(lambda self: len(self.peers.tunnels) > 6)
    @rule(name=st.sampled_from("abc"))
    def server_dies_and_comes_back(self, name: str) -> None:
        self.peers.server_dies(name)
        self.world.probe(name, ok=True)

    @precondition(lambda self: self.peers.tunnels)
    @rule(
        name=st.sampled_from("abc"),
        done=st.lists(st.tuples(which, st.sampled_from(["data", "ask", "reconnect"])), max_size=4),
        for_s=st.sampled_from([1.0, 40.0, 320.0]),
        still_sends=st.booleans(),
    )
    def server_hangs(self, name: str, done: list[tuple[int, str]], for_s: float, still_sends: bool) -> None:
        """It is back with its tunnels; `still_sends`: only its IKE daemon hung. Who connects anew does so elsewhere."""
        world = self.world
        for other in "abc":
            world.probe(other, ok=True)
        if still_sends:
            world.probe(name, ok=False)
            world.server(name).last_resort = True
        else:
            world.fail(name)
        for number, what in done:
            hanging = [tunnel for tunnel in self.peers.tunnels if tunnel.server == name]
            if not hanging:
                break
            tunnel = hanging[number % len(hanging)]
            if what == "reconnect":
                self.peers.tunnels.remove(tunnel)
                if all(other.place != tunnel.place for other in self.peers.tunnels):
                    again = self.peers.connect((tunnel.place[0], tunnel.place[1] + 10_000), tunnel.place)
                    assert again is not None
                    assert again.server != name
            elif not still_sends:
                reached = self.peers.send_data(tunnel) if what == "data" else self.peers.ask(tunnel)
                assert reached != name
            audit(world)
        world.later(for_s)
        world.probe(name, ok=True)
        world.server(name).last_resort = False
        self.peers.give_up()

    @rule(by_s=st.sampled_from([0.5, 0.5, 0.5, 5.0, 5.0, 20.0, 32.0, 200.0, 310.0, 2_000.0]))
    def time_passes(self, by_s: float) -> None:
        self.world.later(by_s)
        self.peers.give_up()

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def everything_agrees(self) -> None:
        audit(self.world)
        for tunnel in self.peers.tunnels:
            known = self.world.service.by_spi.all(tunnel.pair[0])
            assert not tunnel.pair_shown or any(
                tunnel.pair in session.spis and session.server.name == tunnel.server and not session.half_open
                for session in known
            )

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.later(30 * 24 * 3600)
            assert_empty(self.world)


TestRoaming = Roaming.TestCase
TestRoaming.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


CLIENTS = 20
EIGHT_HOURS_S = 8 * 3600.0


async def client_for_a_day(peers: Peers, number: int, until_s: float) -> None:
    """Connects, talks, rekeys, moves, falls asleep, leaves and comes again, till closing time."""
    random, world = Random(number), peers.world
    ports = iter(range(10_000 + number, 65_000, CLIENTS))

    def now() -> None:
        world.now_s = trio.current_time()

    while trio.current_time() < until_s:
        await trio.sleep(random.uniform(0, 300))
        now()
        host = random.choice(HOSTS)
        tunnel = peers.connect((host, next(ports)), (host, next(ports)))
        assert tunnel is not None
        leaves_s = trio.current_time() + random.uniform(60, 5_400)
        while trio.current_time() < min(leaves_s, until_s):
            await trio.sleep(random.choice([20, 60, 60, 120, 400]))
            now()
            match random.randrange(8):
                case 0:
                    tunnel.place = random.choice(HOSTS), next(ports)
                case 1:
                    peers.rekey_data(tunnel)
                case 2:
                    peers.rekey_ike(tunnel, by_server=random.random() < 0.5)
            promised = tunnel.pair_shown
            reached = peers.ask(tunnel)
            assert reached == tunnel.server or not promised
            if reached != tunnel.server:
                break
            assert peers.send_data(tunnel) == tunnel.server
        peers.tunnels.remove(tunnel)


@pytest.mark.trio
async def test_eight_hours_of_churn_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """Twenty clients that come, move, rekey and go all day: tables hold who is there, and in the end nobody."""
    world = World(servers="abc", persistence=PersistenceKind.SOURCE_ADDRESS)
    peers = Peers(world)
    begun_s = trio.current_time()

    async def expire() -> None:
        while True:
            await trio.sleep(1)
            world.later(trio.current_time() - world.now_s)
            world.service.unannounced.expire(world.now_s)
            assert world.table.deadlines == len(world.sessions()) + world.table.flow_count
            # An hour asleep, and at most a few minutes for each tunnel that a client had within it.
            assert len(world.sessions()) < 10 * CLIENTS

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expire)
        async with trio.open_nursery() as clients:
            for number in range(CLIENTS):
                clients.start_soon(client_for_a_day, peers, number, begun_s + EIGHT_HOURS_S)
        assert any(" moved here from " in session.why for session in world.sessions())
        assert len(world.service.by_esp) > 0
        await trio.sleep(2 * 3600)
        nursery.cancel_scope.cancel()
    assert_empty(world)
