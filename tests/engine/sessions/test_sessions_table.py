"""The session table under any order of events: its indexes agree, its promises hold, it ends empty."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.config.schema import AdminState, PersistenceKind, Source
from engine.net.snat import sources_for
from engine.sessions import keys
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.session import Phase, Session
from engine.sessions.table import FLOWS_PER_SESSION, HALF_OPEN_PER_FLOW, TableFull
from engine.wire.header import Exchange
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    REFUSAL_BYTES,
    World,
    assert_empty,
    audit,
    auth,
    auth_answer,
    cookie_demand,
    create_child,
    encrypted,
    esp,
    informational,
    init,
    init_answer,
)

POOL = ["192.0.2.1-192.0.2.3"]
OFFICE, ALICE, ROAMER = "198.51.100.1", "198.51.100.2", "203.0.113.9"
CLIENTS: list[SocketAddress] = [
    (OFFICE, 500),
    (OFFICE, 4500),
    (OFFICE, 1024),
    (ALICE, 500),
    (ALICE, 4500),
    (ROAMER, 77),
]

clients = st.sampled_from(CLIENTS)
ports = st.sampled_from(list(Port))
spis = st.integers(1, 5)
servers = st.sampled_from("abc")
bools = st.booleans()

FROM_CLIENT: dict[str, Callable[[int], bytes]] = {
    "init": init,
    "auth": auth,
    "liveness": informational,
    "liveness-answer": lambda spi: informational(spi, response=True),
    "delete": lambda spi: encrypted(spi, Exchange.INFORMATIONAL, size_bytes=60, message_id=7),
    "rekey": create_child,
    "esp": lambda spi: esp(),
    "keepalive": lambda spi: KEEPALIVE,
    "junk": lambda spi: bytes(9),
}
FROM_SERVER: dict[str, Callable[[int], bytes]] = {
    "init-answer": init_answer,
    "cookie": cookie_demand,
    "auth-answer": auth_answer,
    "refusal": lambda spi: auth_answer(spi, REFUSAL_BYTES),
    "liveness": lambda spi: informational(spi, from_server=True),
    "delete-answer": lambda spi: encrypted(
        spi, Exchange.INFORMATIONAL, from_server=True, response=True, size_bytes=30, message_id=7
    ),
    "rekey": lambda spi: create_child(spi, from_server=True),
    "rekeyed-sa": lambda spi: informational(spi + 100, from_server=True),
    "unknown-spi": lambda spi: encrypted(spi, Exchange.INFORMATIONAL, from_server=True, response=True, payload=41),
    "esp": lambda spi: esp(),
    "keepalive": lambda spi: KEEPALIVE,
    "junk": lambda spi: bytes(9),
}


def on(port: Port, datagram: bytes) -> bytes:
    """The datagram as it looks on a port: IKE messages have the non-ESP marker on 4500 only."""
    if port is IKE:
        return datagram.removeprefix(bytes(4))
    return datagram if datagram[:4] == bytes(4) or len(datagram) == 1 or datagram == esp() else bytes(4) + datagram


def unmistakable(flow: Flow | None) -> bool:
    """Whether a flow carries a session whose server is more than a guess."""
    return flow is not None and any(not session.anonymous for session in flow.sessions)


class Traffic(RuleBasedStateMachine):
    """A small table, a few clients (several behind one NAT), three servers, and everything that happens to them."""

    @initialize(kind=st.sampled_from(list(PersistenceKind)), following=bools)
    def begin(self, kind: PersistenceKind, following: bool) -> None:
        self.world = World(
            servers="abc",
            max_sessions=6,
            max_records=2,
            persistence=kind,
            port_following=following,
            source=Source.SNAT,
            snat_addresses=POOL,
        )

    @rule(client=clients, port=ports, what=st.sampled_from(sorted(FROM_CLIENT)), spi=spis)
    def client_sends(self, client: SocketAddress, port: Port, what: str, spi: int) -> None:
        world = self.world
        flow = world.flow(client, port)
        tied = flow.server.name if flow is not None and unmistakable(flow) else None
        before = {session: session.phase for session in world.sessions()}
        safe = [s for s, phase in before.items() if phase in (Phase.ESTABLISHED, Phase.IDLE) and not s.deleted_s]

        went_to = world.client_sends(client, port, on(port, FROM_CLIENT[what](spi)))

        if tied is not None and went_to is not None:
            assert went_to == tied, "a flow with a session changed its server"
        assert all(session.number in world.table.sessions for session in safe), "an established session was evicted"
        if what == "keepalive":
            assert set(world.sessions()) <= before.keys(), "a keepalive made a session"
        for session in world.sessions():
            if session.phase is Phase.ESTABLISHED and before.get(session) not in (Phase.ESTABLISHED, Phase.IDLE):
                assert session.auth_accepted, "a client's word alone made an established session"

    @rule(data=st.data(), what=st.sampled_from(sorted(FROM_SERVER)), spi=spis)
    def server_sends(self, data: st.DataObject, what: str, spi: int) -> None:
        flows = [(client, port) for port in Port for client in self.world.service.flows[port]]
        if flows:
            client, port = data.draw(st.sampled_from(flows))
            before = set(self.world.sessions())
            self.world.server_sends(client, port, on(port, FROM_SERVER[what](spi)))
            assert set(self.world.sessions()) <= before

    @rule(name=servers)
    def server_fails(self, name: str) -> None:
        self.world.fail(name)
        assert all(session.phase is Phase.IDLE for session in self.world.sessions() if session.server.name == name)

    @rule(name=servers)
    def server_comes_back(self, name: str) -> None:
        self.world.probe(name, ok=True)

    @rule(name=servers, state=st.sampled_from([AdminState.ENABLED, AdminState.DRAIN]))
    def operator_sets(self, name: str, state: AdminState) -> None:
        self.world.configure(name, state=state)

    @rule(name=servers)
    def operator_disables(self, name: str) -> None:
        self.world.disable(name)

    @rule(name=servers, most=st.integers(0, 2))
    def operator_limits(self, name: str, most: int) -> None:
        self.world.configure(name, max_sessions=most)

    @rule(host=st.sampled_from([OFFICE, ALICE]))
    def operator_clears(self, host: str) -> None:
        for session in list(self.world.service.by_host.get(host, ())):
            self.world.table.close(session)

    @rule(host=st.sampled_from([OFFICE, ALICE]), name=servers)
    def operator_moves(self, host: str, name: str) -> None:
        self.operator_clears(host)
        keys.remember(self.world.service, host, self.world.server(name), self.world.now_s)

    @rule(host=st.sampled_from([OFFICE, ALICE]), name=servers)
    def operator_pins(self, host: str, name: str) -> None:
        self.world.service.persistence.pin(f"{host}/32", self.world.server(name), self.world.now_s)

    @rule(host=st.sampled_from([OFFICE, ALICE]))
    def operator_unpins(self, host: str) -> None:
        if pin := self.world.service.pin_of(host):
            self.world.service.persistence.forget(pin)

    @rule(data=st.data())
    def socket_is_closed(self, data: st.DataObject) -> None:
        flows = [flow for flow in self.world.upstreams.flows.values() if unmistakable(flow)]
        if flows:
            self.world.upstreams.close(data.draw(st.sampled_from(flows)))

    @rule(by_s=st.sampled_from([0.5, 2.0, 15.0, 31.0, 170.0, 290.0, 3500.0]))
    def time_passes(self, by_s: float) -> None:
        self.world.later(by_s)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def everything_agrees(self) -> None:
        audit(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.later(30 * 24 * 3600)
            assert_empty(self.world)


TestTraffic = pytest.mark.filterwarnings("ignore:.*:hypothesis.errors.HypothesisWarning")(Traffic.TestCase)
TestTraffic.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def fill(world: World, count: int, first_spi: int = 1) -> list[Session]:
    return [world.connect(f"198.51.100.{n}", first_spi + n) for n in range(count)]


def test_oldest_half_open_gives_way() -> None:
    """In a full table a new session takes the place of the half-open one that is oldest, and only of that."""
    world = World(max_sessions=4)
    established = fill(world, 2)
    world.client_sends((ALICE, 901), IKE, init(901))
    world.client_sends((ALICE, 902), IKE, init(902))
    world.client_sends((ALICE, 903), IKE, init(903))
    assert world.sessions()[:2] == established
    assert [session.spis[0][0] for session in world.sessions()[2:]] == [902, 903]
    assert world.table.evicted == 1
    audit(world)


def test_only_session_of_a_flow_gives_way_to_another_on_it() -> None:
    """The flow lives on with the new session when the one that must go was the only one it had."""
    world = World(max_sessions=1)
    for spi in (1, 2, 3):
        assert world.client_sends((ALICE, 500), IKE, init(spi)) is not None
        audit(world)
    assert world.only_session().spis == ((3, 0),)
    world.later(1000)

    assert world.table.flow_count == 0


def test_full_table_of_established_sessions_refuses() -> None:
    """No established session goes for a new one: the new client is turned away, counted and told once."""
    world = World(max_sessions=2)
    established = fill(world, 2)
    for spi in range(50, 60):
        assert world.client_sends((ALICE, spi), IKE, init(spi)) is None
        assert world.client_sends(("198.51.100.1", 500), IKE, init(spi)) is None
    assert world.sessions() == established
    assert world.service.drops == {"table-full": 20}
    assert [event.kind for event in world.events.after(0, 10) if event.severity == "error"] == ["table-full"]
    with pytest.raises(TableFull):
        world.table.open(world.service, world.server("a"), ALICE, "test", 0.0)
    audit(world)


def test_longest_asleep_gives_way_when_nothing_is_half_open() -> None:
    """A session without traffic for minutes must not keep a new client out: the one asleep longest goes."""
    world = World(max_sessions=3)
    first = world.connect("198.51.100.1", 1)
    world.later(10)
    second = world.connect("198.51.100.2", 2)
    world.later(400)
    awake = world.connect("198.51.100.3", 3)
    assert [session.phase for session in (first, second, awake)] == [Phase.IDLE, Phase.IDLE, Phase.ESTABLISHED]
    assert world.client_sends((ALICE, 500), IKE, init(4)) is not None
    assert first.phase is Phase.CLOSED
    assert world.sessions()[:2] == [second, awake]
    audit(world)


def test_flood_leaves_nothing_behind() -> None:
    """Thousands of clients that never come back cost what the table holds, not what passed through it."""
    world = World(max_sessions=50, max_records=20)
    kept = fill(world, 3)
    for n in range(5000):
        world.client_sends((f"203.0.{n >> 8}.{n & 255}", 500), IKE, init(1000 + n))
    assert len(world.sessions()) == 50
    assert world.sessions()[:3] == kept
    assert len(world.service.persistence) == 20
    assert world.table.deadlines <= 50 + 53 + 53
    audit(world)


def test_flood_of_addresses_spares_the_persistence_of_clients_that_are_there() -> None:
    """Records of clients with flows outlive any number of strangers that come after them."""
    world = World(max_sessions=150, max_records=200)
    regulars = [world.connect(f"198.51.100.{n}", n) for n in range(1, 101)]
    for n in range(2000):
        world.client_sends((f"203.0.{n >> 8}.{n & 255}", 500), IKE, init(1000 + n))
        if n % 100 == 0:
            world.later(31)
            for regular in regulars:
                world.client_sends((regular.host, 4500), NAT_T, KEEPALIVE)
    known = {record.client for record in world.service.persistence}
    assert {f"{regular.host}/32" for regular in regulars} <= known


def test_half_open_sessions_of_one_flow_are_few() -> None:
    """One 5-tuple that begins IKE SAs without end holds a handful: each would slow every later message on it."""
    world = World()
    established = world.connect(ALICE, 9999)
    for spi in range(1, 500):
        world.client_sends((ALICE, 4500), NAT_T, bytes(4) + init(spi))
        world.client_sends((ALICE, 3000 + spi), IKE, init(10_000 + spi))
        world.client_sends((ALICE, 4500), NAT_T, auth(10_000 + spi))
    flow = world.flow((ALICE, 4500), NAT_T)
    assert flow is not None
    assert sum(session.half_open for session in flow.sessions) <= HALF_OPEN_PER_FLOW
    assert established in flow.sessions
    audit(world)


def test_flows_of_one_session_are_few() -> None:
    """A session that shows up from ever new ports keeps the latest of them."""
    world = World()
    session = world.connect(ALICE, 1)
    for port in range(20_000, 20_050):
        world.later(0.1)
        world.client_sends((ALICE, port), NAT_T, informational(1))
        world.server_sends((ALICE, port), NAT_T, informational(1, from_server=True))
    assert len(session.flows) == FLOWS_PER_SESSION
    assert session.flows[-1].client == (ALICE, 20_049)
    assert session.phase is Phase.MOVED
    audit(world)


def test_counters_go_with_the_session_that_esp_belongs_to() -> None:
    """What passed before a second tunnel began on a flow stays the first one's; the sum over both is what passed."""
    world = World(servers="a")
    first = world.connect(ALICE, 1)
    for _ in range(5):
        world.client_sends((ALICE, 4500), NAT_T, esp())
    world.client_sends((ALICE, 4500), NAT_T, bytes(4) + init(2))
    world.client_sends((ALICE, 4500), NAT_T, esp())
    second = world.service.by_spi[2]
    flow = world.flow((ALICE, 4500), NAT_T)
    assert flow is not None
    assert flow.owner is first
    assert first.ended_packets_in == 0
    passed = flow.packets_in
    world.table.set_phase(second, Phase.ESTABLISHED)
    world.client_sends((ALICE, 4500), NAT_T, esp())
    assert first.ended_packets_in == passed
    assert (flow.owner, flow.packets_in) == (second, 1)
    assert world.server("a").packets_in == 3 + 5 + 3


def test_second_tunnel_does_not_end_the_first() -> None:
    """A tunnel that spoke only ESP for hours is no older than its last packet when another begins beside it."""
    world = World()
    device = world.connect(ALICE, 1)
    for _ in range(60):
        world.later(120)
        world.client_sends((ALICE, 4500), NAT_T, esp())
    world.client_sends((ALICE, 4500), NAT_T, bytes(4) + init(2))
    world.later(60)
    assert device in world.sessions()
    assert device.phase is Phase.ESTABLISHED


def test_pool_spreads_sessions_and_counts_them() -> None:
    """Each session takes the address its server has fewest sessions from, keeps it on both ports, and gives it back."""
    world = World(servers="a", source=Source.SNAT, snat_addresses=POOL)
    sessions = fill(world, 7)
    use = world.server("a").source_use
    assert sorted(use.values()) == [2, 2, 3]
    assert next(sources_for(sessions[0], world.service.snat_pool)) == sessions[0].source_address
    assert all({flow.source[0] for flow in s.flows if flow.source} == {s.source_address} for s in sessions)
    for session in sessions:
        world.table.close(session)
    assert not use


def test_second_tunnel_on_a_flow_counts_for_its_source_address() -> None:
    """Servers count IKE SAs by source address, so the pool's numbers must hold those that share a flow, too."""
    world = World(servers="a", source=Source.SNAT, snat_addresses=POOL)
    session = world.connect(ALICE, 1)
    world.client_sends((ALICE, 4500), NAT_T, bytes(4) + init(2))
    assert world.server("a").source_use == {session.source_address: 2}


def test_a_handshake_is_over_before_its_flow_is_found_idle_however_late_both_are_looked_at() -> None:
    """A virtual machine may stand still for minutes: whoever was just set up has a tunnel all the same."""
    world = World()
    first, then = (ALICE, 500), (ALICE, 4500)
    world.client_sends(first, IKE, init(1))
    world.server_sends(first, IKE, init_answer(1))
    world.client_sends(then, NAT_T, auth(1))
    world.server_sends(then, NAT_T, auth_answer(1))
    world.later(400)
    assert world.only_session().phase is Phase.IDLE
    assert world.only_session().was_established


def test_a_session_that_fails_keeps_no_unproven_flow_beyond_its_own_end() -> None:
    """Whoever forges a known client's message could else have a flow of its session for as long as a silent client."""
    world = World()
    session = world.connect(ALICE, 1)
    forged = (ROAMER, 4500)
    world.client_sends(forged, NAT_T, informational(1))
    world.client_sends(forged, NAT_T, bytes(4) + init(2))
    assert len(session.flows) == 3
    while world.now_s < world.service.config.timeouts.half_open_s:
        world.later(0.5)
    assert world.sessions() == [session]
    assert world.flow(forged, NAT_T) is None
