"""Which real server a client's datagram goes to, and the reason that the operator reads."""

from __future__ import annotations

import pytest
from netaddr import IPAddress

from engine.config.schema import AdminState, PersistenceKind, PrefixLengths, SchedulerKind, Source
from engine.config.schema import RealServer as RealServerConfig
from engine.health.state import ServerHealth
from engine.sessions import keys
from engine.sessions.flow import SocketAddress
from engine.sessions.real_server import RealServer
from engine.sessions.session import Phase
from engine.sessions.steering import Decision, decide, ineligible
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    World,
    at,
    audit,
    auth,
    encrypted,
    esp,
    informational,
    init,
    init_answer,
    seconds,
)

ALICE, BOB = "198.51.100.1", "198.51.100.2"


def test_new_client_is_scheduled_and_its_second_port_follows_the_spi() -> None:
    """IKE_SA_INIT on 500 and IKE_AUTH on 4500 are one session on one server, though round-robin would part them."""
    world = World()
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "a"
    assert world.client_sends((ALICE, 4500), NAT_T, auth(1)) == "a"
    session = world.only_session()
    assert session.why == "scheduled by round-robin"
    assert [flow.port for flow in session.flows] == [IKE, NAT_T]


def test_spi_is_followed_to_another_address() -> None:
    """A client that roams with a known SPI keeps its server, whatever address it comes from."""
    world = World()
    session = world.connect(ALICE, 1)
    for host in ("203.0.113.77", "203.0.113.78"):
        assert world.client_sends((host, 33_000), NAT_T, informational(1)) == session.server.name
    assert world.sessions() == [session]
    audit(world)


@pytest.mark.parametrize("datagram", [esp(), informational(99)], ids=["esp", "unknown-spi"])
def test_what_begins_nothing_follows_the_address(datagram: bytes) -> None:
    """ESP and messages of an unknown IKE SA go where their address has a session; this tells why."""
    world = World(persistence=PersistenceKind.NONE)
    server = world.connect(ALICE, 1).server.name
    assert world.client_sends((BOB, 500), IKE, init(2)) != server
    assert world.client_sends((ALICE, 4501), NAT_T, datagram) == server
    assert world.sessions()[-1].why == "port following"


def test_port_following_off_leaves_it_to_the_scheduler() -> None:
    """Switched off, neither the SPI nor the address ties a client's second port to its first."""
    world = World(port_following=False, persistence=PersistenceKind.NONE)
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "a"
    assert world.client_sends((ALICE, 4500), NAT_T, auth(1)) == "b"
    assert {session.why for session in world.sessions()} == {"scheduled by round-robin"}


def test_client_may_start_on_4500() -> None:
    """An IKE_SA_INIT behind the non-ESP marker begins a session without a packet to 500 (RFC 7296 section 2.23)."""
    world = World()
    client = (ALICE, 4500)
    assert world.client_sends(client, NAT_T, bytes(4) + init(1)) == "a"
    assert world.server_sends(client, NAT_T, bytes(4) + init_answer(1))
    assert world.client_sends(client, NAT_T, auth(1)) == "a"
    assert len(world.only_session().flows) == 1


def test_second_tunnel_of_one_machine_stays_on_its_flow() -> None:
    """Two IKE SAs over one 5-tuple (Windows' device and user tunnel) never part, whatever the scheduler wants."""
    world = World(persistence=PersistenceKind.NONE)
    device = world.connect(ALICE, 1)
    assert world.client_sends((ALICE, 500), IKE, init(2)) == device.server.name
    assert world.client_sends((ALICE, 4500), NAT_T, auth(2)) == device.server.name
    assert world.service.by_spi[2].why == "same flow"
    audit(world)


@pytest.mark.parametrize("kind", list(PersistenceKind))
@pytest.mark.parametrize("host", [ALICE, "2001:db8::1"])
def test_second_tunnel_stays_when_only_the_flow_on_4500_is_left(kind: PersistenceKind, host: str) -> None:
    """Port 500 fell silent and was forgotten; IKE_AUTH will come over the old 5-tuple, so IKE_SA_INIT goes there too.

    Otherwise one server would get the IKE_SA_INIT and the other the IKE_AUTH, and the client never connects.
    """
    world = World(persistence=kind)
    on_500, on_4500 = at(host, 500), at(host, 4500)
    first = world.connect(host, 1).server.name
    world.configure(first, weight=0)
    world.later(170)
    world.client_sends(on_4500, NAT_T, esp())
    world.later(11)
    assert world.flow(on_500, IKE) is None
    assert world.client_sends(on_500, IKE, init(2)) == first
    assert world.service.by_spi[2].why == "port following"
    assert world.client_sends(on_4500, NAT_T, auth(2)) == first


def test_other_clients_of_an_office_are_spread_by_ike_spi() -> None:
    """With persistence per IKE SA, clients behind one NAT do not all follow the first one."""
    world = World(persistence=PersistenceKind.IKE_SPI)
    servers = [world.connect(ALICE, spi, ike_port=500 + spi, nat_t_port=4500 + spi).server.name for spi in range(1, 5)]
    assert servers == ["a", "b", "a", "b"]
    assert len(world.service.persistence) == 0


def test_source_address_persistence_returns_an_office_to_its_server() -> None:
    """With source-address persistence all clients of an address share a server, and the reason names the address."""
    world = World()
    first = world.connect(ALICE, 1).server
    second = world.connect(ALICE, 2, ike_port=1500, nat_t_port=14500)
    assert second.server is first
    assert second.why == f"persistence {ALICE}/32"


@pytest.mark.parametrize(
    ("first", "neighbour", "stranger", "network"),
    [
        ("198.51.100.1", "198.51.100.200", "198.51.101.1", "198.51.100.0/24"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "2001:db8:1:2::/64"),
    ],
)
def test_persistence_prefix(first: str, neighbour: str, stranger: str, network: str) -> None:
    """All addresses of a prefix count as one client, the next prefix is another."""
    world = World(persistence_prefix=PrefixLengths(v4=24, v6=64))
    assert world.client_sends((first, 500), IKE, init(1)) == "a"
    assert world.client_sends((neighbour, 500), IKE, init(2)) == "a"
    assert world.sessions()[-1].why == f"persistence {network}"
    assert world.client_sends((stranger, 500), IKE, init(3)) == "b"


def test_persistence_slides_from_the_last_packet() -> None:
    """The timeout runs from the last packet of the last flow, not from the first."""
    world = World(persistence_timeout_s=seconds(1800))
    world.connect(ALICE, 1)
    for _ in range(20):
        world.later(200)
        world.client_sends((ALICE, 4500), NAT_T, KEEPALIVE)
    world.later(1799)
    assert decide(world.service, ALICE, world.now_s).why == f"persistence {ALICE}/32"
    world.later(1)
    assert decide(world.service, ALICE, world.now_s).why == "scheduled by round-robin"
    assert len(world.service.persistence) == 0


def test_preview_changes_nothing() -> None:
    """Asking where a client would go does not take a turn from the scheduler."""
    world = World()
    previews = [decide(world.service, ALICE, 0.0, preview=True) for _ in range(3)]
    assert previews == [Decision(world.server("a"), "scheduled by round-robin")] * 3


@pytest.mark.parametrize("state", [AdminState.DRAIN, AdminState.DISABLED])
def test_server_out_of_service_takes_no_new_clients(state: AdminState) -> None:
    """Neither a draining nor a disabled server is given a client that it does not know."""
    world = World()
    world.configure("a", state=state)
    assert [world.client_sends((ALICE, port), IKE, init(port)) for port in (501, 502, 503)] == ["b"] * 3


def test_draining_server_keeps_what_it_has() -> None:
    """Sessions stay, new ones go elsewhere even for a client that is still there: else an office would never drain."""
    world = World()
    session = world.connect(ALICE, 1)
    server = session.server.name
    world.configure(server, state=AdminState.DRAIN)
    assert world.client_sends((ALICE, 4500), NAT_T, esp()) == server
    assert world.client_sends((ALICE, 501), IKE, init(2)) != server
    assert world.client_sends((ALICE, 4500), NAT_T, esp()) == server


def test_weight_zero_takes_no_new_clients_even_by_persistence() -> None:
    """Weight 0 is for emptying a server: its old clients go elsewhere with their next IKE SA."""
    world = World()
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "a"
    world.configure("a", weight=0)
    assert world.client_sends((ALICE, 501), IKE, init(2)) == "b"


def test_max_sessions_counts_half_open_ones() -> None:
    """A full server takes no more until a session ends, half-open or not; with none left clients are turned away."""
    world = World(servers="a")
    world.configure("a", max_sessions=2)
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "a"
    world.connect(BOB, 2)
    assert world.client_sends(("198.51.100.3", 500), IKE, init(3)) is None
    assert world.service.drops == {"no-server": 1}
    world.later(30)
    assert world.client_sends(("198.51.100.3", 500), IKE, init(4)) == "a"


def test_want_of_servers_is_told_once_and_so_is_its_end() -> None:
    """Each datagram is counted; the log has one line when it begins and one when the next new client is taken."""
    world = World(servers="a")
    known = world.connect(BOB, 9)
    world.configure("a", weight=0)
    for port in range(1000, 1050):
        assert world.client_sends((ALICE, port), IKE, init(port)) is None
    moved = (BOB, 4501)
    assert world.client_sends(moved, NAT_T, informational(9)) == known.server.name
    world.server_sends(moved, NAT_T, informational(9, from_server=True, response=True))
    begun = world.events.last_number
    assert [event.kind for event in world.events.after(0, 10)][-2:] == ["no-server", "session-moved"]
    world.configure("a", weight=1)
    assert world.client_sends((ALICE, 1050), IKE, init(1050)) == "a"
    assert [event.kind for event in world.events.after(begun, 10)] == ["takes-clients"]
    assert world.service.drops["no-server"] == 50


@pytest.mark.parametrize("gone", ["fail", "disable"])
def test_clients_of_a_lost_server_are_steered_with_their_next_packet(gone: str) -> None:
    """A server that goes down or is disabled loses persistence; ESP goes to another server at once.

    The sessions of one that is down sleep, those of one that is disabled end.
    """
    world = World()
    session = world.connect(ALICE, 1)
    getattr(world, gone)(session.server.name)
    assert world.sessions() == ([session] if gone == "fail" else [])
    other = {"a": "b", "b": "a"}[session.server.name]
    assert world.client_sends((ALICE, 4500), NAT_T, esp()) == other
    assert world.sessions()[-1].why == "scheduled by round-robin"
    audit(world)


@pytest.mark.parametrize("back", [esp(1), informational(1)], ids=["esp", "ike"])
def test_a_tunnel_goes_on_when_its_server_was_only_hung(back: bytes) -> None:
    """Whatever its client sent elsewhere meanwhile, in vain and violating nothing."""
    world = World()
    session, client = world.connect(ALICE, 1), (ALICE, 4500)
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    assert world.server_sends(client, NAT_T, esp(2))
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    world.fail("a")
    assert session.phase is Phase.IDLE
    for datagram in (esp(1), informational(1), KEEPALIVE, esp(1)):
        assert world.client_sends(client, NAT_T, datagram) == "b"
    assert "spi-split" not in world.service.violations.counts
    world.probe("a", ok=True)
    assert world.client_sends(client, NAT_T, back) == "a"
    assert world.server_sends(client, NAT_T, esp(2))
    assert session.phase is Phase.ESTABLISHED
    assert world.sessions() == [session]
    audit(world)


def test_a_tunnel_goes_on_from_the_port_that_its_server_knows() -> None:
    """With snat the server sends ESP to where the client's came from last."""
    world = World(source=Source.SNAT, snat_addresses=["192.0.2.1"])
    session, client = world.connect(ALICE, 1), (ALICE, 4500)
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    assert world.server_sends(client, NAT_T, esp(2))
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    before = session.flows[-1].source
    world.fail("a")
    assert world.client_sends(client, NAT_T, esp(1)) == "b"
    world.probe("a", ok=True)
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    assert session.flows[-1].source == before
    audit(world)


def test_a_client_that_reconnected_stays_where_it_is_when_its_old_server_is_back() -> None:
    """Its new tunnel is untouched, and so is what remembers its server."""
    world = World()
    old = world.connect(ALICE, 1)
    world.fail("a")
    new = world.connect(ALICE, 2)
    assert new.server.name == "b"
    world.probe("a", ok=True)
    assert world.client_sends((ALICE, 4500), NAT_T, esp(3)) == "b"
    assert world.connect(ALICE, 3).server.name == "b"
    assert world.client_sends((ALICE, 4500), NAT_T, informational(1)) == "b", "to take leave of the old tunnel"
    assert old.phase is Phase.IDLE
    assert not world.service.violations.counts
    audit(world)


@pytest.mark.parametrize(("ike_port", "nat_t_port"), [(500, 4500), (1500, 14_500)], ids=["no-nat", "nat"])
def test_a_client_that_reconnects_leaves_a_server_that_is_down_and_still_sends_data(
    ike_port: int, nat_t_port: int
) -> None:
    """Its IKE daemon is dead, its kernel is not: tunnels stay for as long as their clients want them, and no longer."""
    world, client = World(), (ALICE, nat_t_port)
    world.connect(ALICE, 1, ike_port=ike_port, nat_t_port=nat_t_port)
    world.probe("b", ok=True)
    world.probe("a", ok=False)
    world.server("a").last_resort = True
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    assert world.server_sends(client, NAT_T, esp(2))
    assert world.connect(ALICE, 2, ike_port=ike_port, nat_t_port=nat_t_port).server.name == "b"
    assert world.client_sends(client, NAT_T, esp(3)) == "b"
    audit(world)


def test_a_client_stays_on_a_server_that_is_down_while_no_other_takes_it() -> None:
    """Its tunnel is not given up for a message that goes nowhere."""
    world, client = World(), (ALICE, 4500)
    session = world.connect(ALICE, 1)
    for name in "ab":
        world.probe(name, ok=False)
        world.server(name).last_resort = True
    assert world.client_sends(client, NAT_T, bytes(4) + init(2)) == "a"
    assert world.client_sends(client, NAT_T, esp(1)) == "a"
    assert session.flows
    audit(world)


def test_sleepers_of_a_server_that_is_down_make_room_for_those_who_reconnect() -> None:
    """Else clients would push one another out of a full table while they connect anew."""
    world = World(max_sessions=6)
    for number in range(1, 5):
        world.connect(f"198.51.100.{number}", number)
    world.later(400)
    assert len(world.table.asleep) == 4
    world.fail("a")
    for number in (11, 12, 13, 14):
        assert world.client_sends((f"198.51.100.{number}", 500), IKE, init(number)) == "b"
    assert sorted(spi for session in world.sessions() for spi, _ in session.spis) == [2, 4, 11, 12, 13, 14]
    world.client_sends(("198.51.100.15", 500), IKE, init(15))
    assert sorted(spi for session in world.sessions() for spi, _ in session.spis) == [2, 4, 12, 13, 14, 15]
    audit(world)


def test_who_sleeps_on_a_server_that_is_down_says_nothing_of_its_address() -> None:
    """With persistence by IKE SA what is unknown of an address follows its sessions where all agree."""
    world = World(servers="abc", persistence=PersistenceKind.IKE_SPI)
    world.connect(ALICE, 1)
    world.fail("a")
    assert world.connect(ALICE, 2).server.name == "b"
    assert world.client_sends((ALICE, 7777), NAT_T, esp(9)) == "b"


def test_half_open_sessions_of_a_server_that_goes_down_end() -> None:
    """Their clients ask again, and another server answers."""
    world = World()
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "a"
    world.fail("a")
    assert world.sessions() == []
    assert world.client_sends((ALICE, 500), IKE, init(1)) == "b"
    audit(world)


def test_nothing_new_follows_to_a_server_that_is_being_emptied() -> None:
    """Sessions of a lost server end a few at a time: meanwhile no other packet may start another one there."""
    world = World(persistence=PersistenceKind.NONE)
    session = world.connect(ALICE, 1)
    world.probe(session.server.name, ok=True)
    world.probe(session.server.name, ok=False)
    assert world.client_sends((ALICE, 4999), NAT_T, esp()) != session.server.name
    removed = World(persistence=PersistenceKind.NONE)
    session = removed.connect(ALICE, 1)
    del removed.service.servers[session.server.name]
    assert removed.client_sends((ALICE, 4999), NAT_T, esp()) != session.server.name


def test_guessed_server_yields_to_a_known_spi() -> None:
    """ESP from a new address was steered blindly; the IKE message that follows shows where its session is."""
    world = World(persistence=PersistenceKind.NONE)
    session = world.connect(ALICE, 1)
    roamed = ("203.0.113.5", 4500)
    guess = world.client_sends(roamed, NAT_T, esp())
    assert guess not in (None, session.server.name)
    assert world.client_sends(roamed, NAT_T, informational(1)) == session.server.name
    assert world.client_sends(roamed, NAT_T, esp()) == session.server.name
    assert world.sessions() == [session]
    audit(world)


def test_right_guess_joins_the_session_it_was_about() -> None:
    """The same, where the guess was right: the nameless stand-in ends and its flow becomes the session's."""
    world = World(servers="a")
    session = world.connect(ALICE, 1)
    roamed = ("203.0.113.5", 4500)
    world.client_sends(roamed, NAT_T, esp())
    assert len(world.sessions()) == 2
    world.client_sends(roamed, NAT_T, informational(1))
    assert world.sessions() == [session]
    world.server_sends(roamed, NAT_T, informational(1, from_server=True, response=True))
    assert session.phase is Phase.MOVED
    audit(world)


def test_keepalive_makes_no_session() -> None:
    """A keepalive of no known flow is counted and goes nowhere, even where its address has a session."""
    world = World()
    world.connect(ALICE, 1)
    assert world.client_sends((ALICE, 4999), NAT_T, KEEPALIVE) is None
    assert world.client_sends((BOB, 4500), NAT_T, KEEPALIVE) is None
    assert world.service.drops == {"keepalive-without-flow": 2}
    assert len(world.sessions()) == 1


def test_stray_answer_makes_no_session() -> None:
    """An IKE_SA_INIT answer from a client is counted and goes nowhere, on a known flow it begins nothing."""
    world = World()
    assert world.client_sends((ALICE, 500), IKE, init_answer(1)) is None
    assert world.service.drops == {"stray-response": 1}
    world.client_sends((ALICE, 500), IKE, init(1))
    world.client_sends((ALICE, 500), IKE, init_answer(2))
    assert [spis for session in world.sessions() for spis, _ in session.spis] == [1]


def test_operators_move_counts_whatever_the_persistence() -> None:
    """A record that the operator made decides for the next session, also with persistence none."""
    world = World(persistence=PersistenceKind.NONE)
    session = world.connect(ALICE, 1)
    world.table.close(session)
    keys.remember(world.service, ALICE, world.server("b"), world.now_s)
    assert world.client_sends((ALICE, 500), IKE, init(2)) == "b"
    assert world.only_session().why == f"persistence {ALICE}/32"


def test_agent_is_heard_by_the_adaptive_scheduler_only() -> None:
    """ "Down" from the load agent takes a server out where its word is asked for, nowhere else."""
    for kind, wanted in ((SchedulerKind.ADAPTIVE, "agent says down"), (SchedulerKind.ROUND_ROBIN, None)):
        world = World(scheduler=kind)
        world.server("a").agent_load = 101
        assert ineligible(world.service, world.server("a")) == wanted


def test_server_that_came_back_up_is_eased_into_its_share() -> None:
    """A tenth of its weight at first, then more; all of it once the slow start is over."""
    world = World(scheduler=SchedulerKind.WEIGHTED_ROUND_ROBIN, slow_start_s=seconds(60))
    world.later(100)
    world.probe("a", ok=False)
    world.probe("a", ok=True)
    for by_s, parts in ((0, 2), (60, 11)):
        world.later(by_s)
        placed = [decide(world.service, f"198.51.100.{number}", world.now_s).server.name for number in range(22)]
        assert placed.count("a") == parts


def test_server_is_known_by_its_address_and_port() -> None:
    """What a server sends is told apart by both its ports; other ports and addresses are nobody's."""
    world = World()
    server = world.server("b")
    assert world.service.server_at(("10.0.0.12", 500)) == (server, IKE)
    assert world.service.server_at(("10.0.0.12", 4500)) == (server, NAT_T)
    assert world.service.server_at(("10.0.0.12", 1812)) is None
    assert world.service.server_at(("10.0.0.99", 500)) is None


def test_half_open_sessions_weigh_a_quarter() -> None:
    """Load as schedulers see it: a flood of half-open sessions does not make a server look full at once."""
    config = RealServerConfig(name="a", address=IPAddress("10.0.0.11"))
    server = RealServer(config, (500, 4500), ServerHealth(3, 2, 0.0))
    server.established, server.half_open = 3, 2
    assert server.load == 3.5


def test_message_of_an_sa_elsewhere_stays_on_its_flow() -> None:
    """A flow that carries a session is never torn from its server, not even by another session's SPI."""
    world = World(persistence=PersistenceKind.NONE)
    one, other = world.connect(ALICE, 1), world.connect(BOB, 2)
    assert one.server is not other.server
    assert world.client_sends((ALICE, 4500), NAT_T, encrypted(2, 37)) == one.server.name
    audit(world)


@pytest.mark.parametrize("source", [("198.51.100.7", 0), ("10.0.0.11", 4500)], ids=["port 0", "a real server"])
def test_source_that_no_client_has_is_dropped(source: SocketAddress) -> None:
    """Its answer could not be delivered, or would come back as the next client's datagram, for ever."""
    world = World()
    if source[1]:
        source = (world.server("a").address, world.server("a").ports[NAT_T])
    assert world.client_sends(source, IKE, init(1)) is None
    assert world.service.drops == {"impossible-source": 1}
    assert not world.sessions()


@pytest.mark.parametrize("kind", list(PersistenceKind))
def test_pinned_client_goes_to_its_server_whatever_the_kind_of_persistence(kind: PersistenceKind) -> None:
    """New IKE SAs go there; those that it has stay, and so do the messages that their SPIs name."""
    world = World(persistence=kind)
    before = world.connect(ALICE, 1)
    assert before.server.name == "a"
    world.service.persistence.pin(f"{ALICE}/32", world.server("b"), world.now_s)
    audit(world)
    assert decide(world.service, ALICE, world.now_s, preview=True) == Decision(world.server("b"), f"pinned {ALICE}/32")
    assert world.connect(ALICE, 2, ike_port=30_000, nat_t_port=30_001).server.name == "b"
    assert world.client_sends((ALICE, 30_002), NAT_T, informational(1)) == "a"
    assert world.connect(ALICE, 3, ike_port=30_003, nat_t_port=30_004).server.name == "b"
    audit(world)


def test_pin_is_passed_over_while_its_server_takes_no_sessions() -> None:
    """The reason says so; the pin is not changed by where the client goes meanwhile, and holds again afterwards."""
    world = World()
    world.service.persistence.pin(f"{ALICE}/32", world.server("a"), world.now_s)
    assert world.connect(ALICE, 1).server.name == "a"
    world.fail("a")
    elsewhere = world.connect(ALICE, 2)
    assert elsewhere.server.name == "b"
    assert elsewhere.why == "scheduled by round-robin; pinned to a: down"
    audit(world)
    world.probe("a", ok=True)
    assert decide(world.service, ALICE, world.now_s, preview=True).why == f"pinned {ALICE}/32"
    world.later(10_000.0)
    assert world.connect(ALICE, 3).server.name == "a"
    audit(world)
