"""Clients that go on from elsewhere, and those who only claim to be them."""

from __future__ import annotations

import pytest

from engine.config.schema import Duration, PersistenceKind, SchedulerKind, Timeouts
from engine.sessions.claims import CLAIMANTS
from engine.sessions.esp import SPIS_KEPT
from engine.sessions.flow import SocketAddress
from engine.sessions.session import Phase, Session
from engine.sessions.table import FLOWS_PER_SESSION
from engine.sessions.unannounced import OF_SERVICE, OF_SOURCE
from engine.wire.header import INITIATOR_FLAG, Exchange
from engine.wire.payloads import PayloadType
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    World,
    answer_spi,
    audit,
    auth,
    auth_answer,
    create_child,
    encrypted,
    esp,
    informational,
    init,
    init_answer,
    phase_of,
)

ALICE, BOB, OFFICE = "198.51.100.1", "198.51.100.2", "198.51.100.3"
HOME: SocketAddress = (ALICE, 4500)
CAFE: SocketAddress = ("203.0.113.5", 33_000)
INWARD, OUTWARD = 0xC1F2_A3B4, 0x0A0B_0C0D


def world_of_sessions(**settings: object) -> World:
    return World(persistence=PersistenceKind.NONE, **settings)  # type: ignore[arg-type]


def tunnel(world: World, host: str = ALICE, spi: int = 1, inward: int = INWARD, outward: int = OUTWARD) -> Session:
    """A session whose ESP has passed both ways."""
    session = world.connect(host, spi)
    world.client_sends((host, 4500), NAT_T, esp(inward))
    world.server_sends((host, 4500), NAT_T, esp(outward))
    return session


def answer(spi: int, message_id: int) -> bytes:
    return encrypted(spi, Exchange.INFORMATIONAL, from_server=True, response=True, message_id=message_id)


def other(session: Session) -> str:
    return {"a": "b", "b": "a"}[session.server.name]


def test_esp_from_elsewhere_goes_by_its_spi_and_the_answer_makes_it_a_move() -> None:
    """Data comes first after a MOBIKE move or a new NAT mapping: it says nothing but its SPI."""
    world = world_of_sessions()
    session = tunnel(world)
    assert (session.esp_in, session.esp_out) == ((INWARD,), (OUTWARD,))
    assert world.client_sends(CAFE, NAT_T, esp(INWARD)) == session.server.name
    assert world.sessions() == [session]
    assert (phase_of(session), session.host) == (Phase.ESTABLISHED, ALICE)
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert (phase_of(session), session.host) == (Phase.MOVED, CAFE[0])
    assert session.why == f"known ESP SPI c1f2a3b4: moved here from {ALICE}:4500; at first scheduled by round-robin"
    assert [flow.client for flow in session.flows if flow.port is NAT_T] == [HOME, CAFE]
    audit(world)


def test_mobike_probe_moves_its_session_with_an_answer_that_is_new() -> None:
    """An empty INFORMATIONAL with the old SPIs comes first: its answer shows that the server talks to that address."""
    world = world_of_sessions()
    session = tunnel(world)
    probe = encrypted(1, Exchange.INFORMATIONAL, message_id=2)
    assert world.client_sends(CAFE, NAT_T, probe) == session.server.name
    world.server_sends(CAFE, NAT_T, answer(1, 2))
    assert (phase_of(session), session.host) == (Phase.MOVED, CAFE[0])
    assert session.why.startswith(f"known SPI {1 >> 32:08x}…: moved here from {ALICE}:4500")
    world.later(400)
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    audit(world)


def test_request_that_was_overheard_and_sent_again_moves_nothing() -> None:
    """The server repeats its answer to whoever repeats the request (RFC 7296 section 2.1): that is no proof."""
    world = World()
    session = tunnel(world)
    world.client_sends(HOME, NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=2))
    world.server_sends(HOME, NAT_T, answer(1, 2))
    world.client_sends(CAFE, NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=2))
    world.server_sends(CAFE, NAT_T, answer(1, 2))
    assert (phase_of(session), session.host) == (Phase.ESTABLISHED, ALICE)
    assert [record.client for record in world.service.persistence] == [f"{ALICE}/32"]
    audit(world)


def test_said_in_the_clear_nothing_is_proven() -> None:
    """A server that does not know the message's SPIs says so to anybody."""
    world = World()
    session = tunnel(world)
    world.client_sends(CAFE, NAT_T, informational(1))
    refusal = encrypted(1, Exchange.INFORMATIONAL, from_server=True, response=True, payload=PayloadType.N, message_id=9)
    world.server_sends(CAFE, NAT_T, refusal)
    assert (phase_of(session), session.host) == (Phase.ESTABLISHED, ALICE)


def test_forged_sources_neither_push_out_the_living_flow_nor_stay() -> None:
    """Any number of addresses that claim to be the client's cost a few flows for half a minute."""
    world = World()
    world.now_s = 1_000.0
    session = tunnel(world)
    home = world.flow(HOME, NAT_T)
    for number in range(100):
        world.client_sends(("203.0.113.9", 1_000 + number), NAT_T, informational(1))
        world.client_sends(("203.0.113.9", 2_000 + number), NAT_T, esp(INWARD))
    assert home in session.flows
    assert len(session.flows) == FLOWS_PER_SESSION
    assert (phase_of(session), session.host) == (Phase.ESTABLISHED, ALICE)
    assert world.service.persistence.get("203.0.113.9/32", 1800.0, world.now_s) is None
    audit(world)
    world.later(31)
    assert [flow.client for flow in session.flows] == [(ALICE, 500), HOME]
    audit(world)


def test_claim_to_another_clients_address_does_not_take_its_flow() -> None:
    """Whoever has a session can send its messages under Bob's address: Bob's tunnel stays where it is."""
    world = world_of_sessions()
    mallory, bob = tunnel(world), tunnel(world, BOB, 2, 0xB0B1, 0xB0B2)
    assert mallory.server is not bob.server
    at_bob = (BOB, 4500)
    flow = world.flow(at_bob, NAT_T)
    for datagram in (informational(1), esp(INWARD), create_child(1), auth(1)):
        assert world.client_sends(at_bob, NAT_T, datagram) == bob.server.name
    assert world.flow(at_bob, NAT_T) is flow
    assert bob in world.sessions()
    assert (mallory.host, phase_of(mallory)) == (ALICE, Phase.ESTABLISHED)
    assert world.client_sends(at_bob, NAT_T, esp(0xB0B1)) == bob.server.name
    audit(world)


def test_claims_to_others_flows_on_the_same_server_attach_nothing() -> None:
    """Else one session could gather the flows of all clients of its server, and a flow any number of sessions."""
    world = World(servers="a")
    mallory = tunnel(world)
    victims = [tunnel(world, f"192.0.2.{n}", 10 + n, n, n) for n in range(1, 20)]
    for victim in victims:
        world.client_sends((victim.host, 4500), NAT_T, informational(1))
    assert len(mallory.flows) == 2
    assert all(len(flow.sessions) == 1 for victim in victims for flow in victim.flows)


def test_session_of_a_shared_flow_that_parts_with_it_leaves_it_to_the_other() -> None:
    """Two tunnels on one flow: when one of them has too many flows, the other keeps this one."""
    world = World(servers="a")
    device = tunnel(world)
    world.client_sends(HOME, NAT_T, bytes(4) + init(2))
    world.server_sends(HOME, NAT_T, bytes(4) + init_answer(2))
    world.client_sends(HOME, NAT_T, auth(2))
    world.server_sends(HOME, NAT_T, auth_answer(2))
    user = world.service.by_spi[2]
    for port in range(40_000, 40_000 + FLOWS_PER_SESSION):
        world.later(1)
        world.client_sends((ALICE, port), NAT_T, encrypted(2, Exchange.INFORMATIONAL, message_id=port))
        world.server_sends((ALICE, port), NAT_T, answer(2, port))
    assert all(flow.client != HOME for flow in user.flows)
    assert HOME in [flow.client for flow in device.flows]
    audit(world)


def test_replayed_first_message_of_a_living_session_is_another_session() -> None:
    """IKE_SA_INIT with a known initiator SPI from elsewhere: nobody may use it to get at the session that has it."""
    world = world_of_sessions()
    alice = tunnel(world)
    assert world.client_sends((BOB, 500), IKE, init(1)) == other(alice)
    world.server_sends((BOB, 500), IKE, init_answer(1)[:8] + (77).to_bytes(8) + init_answer(1)[16:])
    impostor = world.sessions()[-1]
    assert (alice.spis, impostor.spis) == (((1, answer_spi(1)),), ((1, 77),))
    assert world.client_sends(CAFE, NAT_T, informational(1)) == alice.server.name
    assert world.client_sends((BOB, 4500), NAT_T, encrypted(1, Exchange.IKE_AUTH, responder_spi=77)) == other(alice)
    audit(world)
    world.table.close(alice)
    assert world.client_sends((BOB, 4501), NAT_T, encrypted(1, Exchange.IKE_AUTH, responder_spi=77)) == other(alice)
    audit(world)


def test_one_spi_chosen_by_very_many_leads_to_few_of_them() -> None:
    """A flood that repeats one initiator SPI must not make looking it up slow; the first one that had it is found."""
    world = World()
    alice = tunnel(world)
    for number in range(1, 200):
        world.client_sends((f"203.0.113.{number}", 500), IKE, init(1))
    assert len(world.service.by_spi.all(1)) == CLAIMANTS
    assert world.service.by_spi.get(1) is alice
    world.later(40)
    assert list(world.service.by_spi.all(1)) == [alice]


def test_first_message_again_from_the_same_address_is_the_same_session() -> None:
    """No answer on port 500, so the client tries 4500; or its NAT gives it another port: one half-open session."""
    world = world_of_sessions()
    server = world.client_sends((ALICE, 500), IKE, init(1))
    assert world.client_sends(HOME, NAT_T, bytes(4) + init(1)) == server
    assert world.client_sends((ALICE, 1_025), IKE, init(1)) == server
    assert len(world.only_session().flows) == 3


def test_answers_to_forged_first_messages_do_not_push_known_spis_out() -> None:
    """Each repetition of IKE_SA_INIT with other contents may get another responder SPI."""
    world = World()
    alice = tunnel(world)
    for spi_r in range(100, 120):
        world.client_sends((ALICE, 500), IKE, init(1))
        world.server_sends((ALICE, 500), IKE, init_answer(1)[:8] + spi_r.to_bytes(8) + init_answer(1)[16:])
    assert alice.spis == ((1, answer_spi(1)),)
    audit(world)


def test_nat_with_an_address_for_each_port_is_one_session_at_the_address_of_4500() -> None:
    """Carrier NATs map 500 and 4500 to different addresses: IKE_AUTH comes from where nothing was seen before."""
    world = World()
    server = world.client_sends((ALICE, 500), IKE, init(1))
    world.server_sends((ALICE, 500), IKE, init_answer(1))
    assert world.client_sends((BOB, 29_000), NAT_T, auth(1)) == server
    world.server_sends((BOB, 29_000), NAT_T, auth_answer(1))
    world.client_sends((BOB, 29_000), NAT_T, KEEPALIVE)
    session = world.only_session()
    assert (phase_of(session), session.host) == (Phase.ESTABLISHED, BOB)
    assert world.service.by_host.keys() == {BOB}
    assert {record.client for record in world.service.persistence} == {f"{ALICE}/32", f"{BOB}/32"}
    audit(world)


def test_bare_keepalive_after_a_rebinding_is_dropped_and_esp_finds_its_way() -> None:
    """One byte 0xFF says nothing at all; what follows it does."""
    world = world_of_sessions()
    session = tunnel(world)
    assert world.client_sends((ALICE, 61_000), NAT_T, KEEPALIVE) is None
    assert world.client_sends((ALICE, 61_000), NAT_T, esp(INWARD)) == session.server.name
    assert world.client_sends((ALICE, 61_000), NAT_T, KEEPALIVE) == session.server.name
    assert world.service.drops == {"keepalive-without-flow": 1}


def test_esp_spi_that_two_servers_have_names_nobody() -> None:
    """Each server chooses on its own; then it goes as ESP of an unknown SPI goes, until one of them is gone."""
    world = world_of_sessions()
    alice, bob = tunnel(world), tunnel(world, BOB, 2)
    assert alice.server is not bob.server
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    assert len(world.sessions()) == 3
    world.table.close(alice)
    assert world.client_sends(("203.0.113.77", 4500), NAT_T, esp(INWARD)) == bob.server.name
    audit(world)


def test_esp_spi_that_is_known_elsewhere_is_claimed_where_a_server_talks_only() -> None:
    """The same number chosen twice is rare; a client behind the same NAT on a port that was another's is not."""
    world = world_of_sessions()
    alice, bob = tunnel(world), tunnel(world, BOB, 2, 0xB0B1, 0xB0B2)
    world.later(10)
    world.client_sends((BOB, 4500), NAT_T, esp(INWARD))
    assert world.service.tunnel_of(INWARD) is alice
    world.server_sends((BOB, 4500), NAT_T, esp(0xB0B2))
    world.client_sends((BOB, 4500), NAT_T, esp(INWARD))
    assert world.service.tunnel_of(INWARD) is None
    assert bob.esp_in == (INWARD, 0xB0B1)
    audit(world)


def test_esp_spis_count_on_flows_that_the_server_answers_on() -> None:
    """Else anybody could have the ESP of others sent to a server of his choice."""
    world = world_of_sessions()
    session = tunnel(world)
    world.client_sends(("203.0.113.66", 4500), NAT_T, esp(0xBAD))
    world.client_sends(CAFE, NAT_T, informational(1))
    for spi in range(1_000, 1_020):
        world.client_sends(CAFE, NAT_T, esp(spi))
    assert list(world.service.by_esp) == [INWARD]
    assert session.esp_in == (INWARD,)


def test_latest_esp_spis_are_kept() -> None:
    """Hours of rekeying leave a few SPIs in memory; the one in use is always among them."""
    world = World()
    session = tunnel(world)
    for spi in range(1, 50):
        world.client_sends(HOME, NAT_T, esp(spi))
        world.client_sends(HOME, NAT_T, esp(spi))
        world.server_sends(HOME, NAT_T, esp(spi + 1_000))
    assert session.esp_in == (49, 48, 47, 46)
    assert session.esp_out == (1_049, 1_048, 1_047, 1_046)
    assert sorted(world.service.by_esp) == [46, 47, 48, 49]
    assert len(session.esp_in) == SPIS_KEPT
    world.client_sends(HOME, NAT_T, esp(1))
    assert session.esp_in[0] == 1
    audit(world)


def test_move_after_rekeying_both_ways() -> None:
    """New SPIs of both kinds lead to the session, also where the server began the IKE SA and its SPI stands first."""
    world = world_of_sessions()
    session = tunnel(world)
    world.client_sends(HOME, NAT_T, create_child(1))
    by_server = bytearray(informational(77, from_server=True))
    by_server[4 + 19] |= INITIATOR_FLAG
    world.server_sends(HOME, NAT_T, bytes(by_server))
    world.client_sends(HOME, NAT_T, esp(INWARD + 1))
    for place, datagram in enumerate(
        (informational(77, response=True), esp(INWARD + 1), esp(INWARD), informational(1))
    ):
        assert world.client_sends(("203.0.113.5", 40_000 + place), NAT_T, datagram) == session.server.name
    assert world.sessions() == [session]


def test_client_that_moves_back_is_back() -> None:
    """Its first flow is still there: an answer on it is the second move."""
    world = World()
    session = tunnel(world)
    world.client_sends(CAFE, NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=2))
    world.server_sends(CAFE, NAT_T, answer(1, 2))
    world.client_sends(HOME, NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=3))
    world.server_sends(HOME, NAT_T, answer(1, 3))
    assert (session.host, session.place) == (ALICE, HOME)
    assert session.why.startswith("known SPI")
    assert f"moved here from {CAFE[0]}:{CAFE[1]}" in session.why
    audit(world)


def test_client_that_went_back_with_data_only_is_back_when_its_new_way_is_forgotten() -> None:
    """As with a NAT of two uplinks whose first one returns: neither end says a word about it."""
    world = World()
    session = tunnel(world)
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert (session.host, session.place) == (CAFE[0], CAFE)
    for _ in range(20):
        world.later(20)
        world.client_sends(HOME, NAT_T, esp(INWARD))
        world.server_sends(HOME, NAT_T, esp(OUTWARD))
    assert world.flow(CAFE, NAT_T) is None
    assert (session.host, session.place) == (ALICE, HOME)
    assert f"moved here from {CAFE[0]}:{CAFE[1]}" in session.why
    audit(world)


def test_roamer_leaves_the_persistence_of_its_new_neighbours_alone() -> None:
    """One tunnel from elsewhere must not send an office's next clients to another server."""
    world = World()
    session = tunnel(world)
    neighbour = tunnel(world, OFFICE, 2, 0xF1, 0xF2)
    assert neighbour.server is not session.server
    behind_office = (OFFICE, 55_000)
    world.client_sends(behind_office, NAT_T, esp(INWARD))
    world.server_sends(behind_office, NAT_T, esp(OUTWARD))
    assert session.host == OFFICE
    record = world.service.persistence.get(f"{OFFICE}/32", 1800.0, world.now_s)
    assert record is not None
    assert record.server is neighbour.server
    audit(world)


def test_port_following_follows_the_client_to_its_new_address() -> None:
    """What is unknown of the new address goes where the session is; the old address has none any more."""
    world = world_of_sessions(scheduler=SchedulerKind.FIXED)
    world.configure("b", weight=1)
    session = tunnel(world)
    world.configure("b", weight=1_000)
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert world.client_sends((CAFE[0], 44_000), NAT_T, esp(0x99)) == session.server.name == "a"
    assert world.client_sends((ALICE, 44_000), NAT_T, esp(0x98)) == "b"


def test_address_and_port_of_a_client_that_is_gone_go_to_the_next_client_of_the_nat() -> None:
    """Its old flow is kept alive by the new client's packets, to a server that never answers them: it gives way."""
    world = world_of_sessions()
    gone, new = tunnel(world, OFFICE), tunnel(world, BOB, 2, 0xB0B1, 0xB0B2)
    assert gone.server is not new.server
    reused = (OFFICE, 4500)
    world.later(20)
    assert world.client_sends(reused, NAT_T, esp(0xB0B1)) == gone.server.name
    world.later(20)
    assert world.client_sends(reused, NAT_T, esp(0xB0B1)) == new.server.name
    world.server_sends(reused, NAT_T, esp(0xB0B2))
    assert (phase_of(gone), phase_of(new)) == (Phase.ESTABLISHED, Phase.MOVED)
    audit(world)


def test_address_and_port_of_a_client_that_moved_go_to_the_next_client_of_the_nat_at_once() -> None:
    """A NAT that restarts shuffles the ports of an office: nobody waits for the server that its first owner left."""
    world = world_of_sessions()
    moved, new = tunnel(world, OFFICE), tunnel(world, BOB, 2, 0xB0B1, 0xB0B2)
    assert moved.server is not new.server
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert world.client_sends((OFFICE, 4500), NAT_T, esp(0xB0B1)) == moved.server.name, (
        "its server may still talk there"
    )
    world.later(6)
    assert world.client_sends((OFFICE, 4500), NAT_T, esp(0xB0B1)) == new.server.name
    assert world.client_sends(CAFE, NAT_T, esp(INWARD)) == moved.server.name
    audit(world)


def test_port_that_was_left_gives_way_no_later_than_any_other() -> None:
    """With a half-open timeout shorter than the patience with a flow that was left, the timeout counts."""
    world = world_of_sessions(timeouts=Timeouts(half_open_s=Duration(2)))
    moved, new = tunnel(world, OFFICE), tunnel(world, BOB, 2, 0xB0B1, 0xB0B2)
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    world.server_sends((OFFICE, 4500), NAT_T, esp(OUTWARD))
    world.later(2.5)
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert world.client_sends((OFFICE, 4500), NAT_T, esp(0xB0B1)) == new.server.name
    assert moved.server is not new.server


def test_client_that_moves_right_after_ike_auth_is_not_lost() -> None:
    """Its first ESP says nothing of its session, and while a server answers that, its IKE messages go there as well."""
    world = world_of_sessions()
    world.client_sends((ALICE, 500), IKE, init(1))
    world.server_sends((ALICE, 500), IKE, init_answer(1))
    world.client_sends(HOME, NAT_T, auth(1))
    world.server_sends(HOME, NAT_T, auth_answer(1))
    (session,) = world.sessions()
    assert world.client_sends(CAFE, NAT_T, esp(INWARD)) == other(session)
    world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    world.later(1)
    assert world.client_sends(CAFE, NAT_T, informational(1)) == other(session)
    world.later(40)
    assert world.client_sends(CAFE, NAT_T, informational(1)) == session.server.name
    world.server_sends(CAFE, NAT_T, informational(1, from_server=True, response=True))
    assert world.sessions() == [session]
    assert session.whereabouts == CAFE
    audit(world)


def test_guess_for_a_tunnel_whose_session_is_known_gives_way_to_esp_too() -> None:
    """After an IKE message with new SPIs was sent to the wrong server, ESP with a known one shows the right one."""
    world = world_of_sessions()
    session = tunnel(world)
    assert world.client_sends(CAFE, NAT_T, informational(99)) == other(session)
    assert world.client_sends(CAFE, NAT_T, esp(INWARD)) == session.server.name
    assert world.client_sends(CAFE, NAT_T, informational(99)) == session.server.name
    world.server_sends(CAFE, NAT_T, encrypted(99, Exchange.INFORMATIONAL, from_server=True, response=True))
    assert world.sessions() == [session]
    assert session.spis == ((1, answer_spi(1)), (99, answer_spi(99)))
    audit(world)


def test_made_up_spis_bind_nothing_before_the_server_has_answered() -> None:
    """After a restart whoever knows a client's SPIs could else have its messages sent to a server of his choice."""
    world = world_of_sessions()
    wrong = world.client_sends(CAFE, NAT_T, informational(5))
    right = world.client_sends(HOME, NAT_T, informational(5))
    assert wrong != right
    world.server_sends(HOME, NAT_T, informational(5, from_server=True, response=True))
    assert world.client_sends(CAFE, NAT_T, informational(5)) == right
    assert len(world.sessions()) == 1


def test_forged_packet_does_not_wake_a_session() -> None:
    """A session without flows is among the first to give way: only its server's word makes it count again."""
    world = world_of_sessions()
    session = tunnel(world)
    world.later(400)
    assert phase_of(session) is Phase.IDLE
    world.client_sends(CAFE, NAT_T, esp(INWARD))
    assert phase_of(session) is Phase.IDLE
    audit(world)
    world.later(31)
    assert not session.flows
    world.client_sends(HOME, NAT_T, esp(INWARD))
    world.server_sends(HOME, NAT_T, esp(OUTWARD))
    assert phase_of(session) is Phase.ESTABLISHED
    assert session.why == "scheduled by round-robin"
    audit(world)


@pytest.mark.parametrize("datagram", [esp(7), informational(7)], ids=["esp", "ike"])
def test_packets_that_name_no_session_are_limited_by_source_and_in_all(datagram: bytes) -> None:
    """What begins without IKE_SA_INIT makes a session each time: so many at once, so many a second after that."""
    world = world_of_sessions(max_sessions=100_000)
    burst = int(OF_SOURCE.burst)
    took = [world.client_sends((ALICE, 1_000 + n), NAT_T, datagram) is not None for n in range(burst + 50)]
    assert took == [True] * burst + [False] * 50
    assert world.service.drops == {"unknown-spi-limit": 50}
    assert world.client_sends((BOB, 500), IKE, init(3)) is not None
    world.later(2)
    took = [world.client_sends((ALICE, 10_000 + n), NAT_T, datagram) is not None for n in range(200)]
    assert sum(took) == 2 * OF_SOURCE.rate_per_s
    world.service.unannounced.expire(world.now_s)
    assert len(world.service.unannounced) == 1
    world.service.unannounced.expire(world.now_s + OF_SOURCE.burst / OF_SOURCE.rate_per_s)
    assert len(world.service.unannounced) == 0


def test_after_a_restart_thousands_of_tunnels_are_back_at_once_and_a_flood_is_held_off() -> None:
    """Nothing is known of anybody: genuine clients and forged ones look alike, and the first many pass."""
    world = world_of_sessions(max_sessions=100_000)
    burst = int(OF_SERVICE.burst)
    hosts = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(70_000))
    passed = sum(world.client_sends((next(hosts), 4500), NAT_T, esp(7)) is not None for _ in range(burst + 500))
    assert passed == burst
    known = world.sessions()[0]
    assert world.client_sends((known.host, 4_501), NAT_T, esp(8)) is not None, "who has a session is not kept out"
    world.now_s += 1
    passed = sum(world.client_sends((next(hosts), 4500), NAT_T, esp(7)) is not None for _ in range(5_000))
    assert passed == OF_SERVICE.rate_per_s


def office(world: World, clients: int) -> list[Session]:
    return [world.connect(OFFICE, n, ike_port=10_000 + n, nat_t_port=30_000 + n) for n in range(1, clients + 1)]


def test_five_hundred_clients_behind_one_address_are_spread_by_ike_sa() -> None:
    """Each IKE SA is scheduled by itself; what comes on a flow with a session stays with that flow's server."""
    world = World(
        servers="abc",
        persistence=PersistenceKind.IKE_SPI,
        scheduler=SchedulerKind.WEIGHTED_LEAST_CONNECTIONS,
        max_sessions=2_000,
    )
    sessions = office(world, 500)
    assert sorted(server.established for server in world.service.servers.values()) == [166, 167, 167]
    for number, session in enumerate(sessions[:20], start=1):
        on_4500 = (OFFICE, 30_000 + number)
        assert world.client_sends(on_4500, NAT_T, bytes(4) + init(5_000 + number)) == session.server.name
        assert world.client_sends(on_4500, NAT_T, auth(5_000 + number)) == session.server.name
    assert not world.service.persistence
    audit(world)


def test_what_is_unknown_of_an_office_follows_nobody_unless_all_agree() -> None:
    """With persistence by IKE SA one client of an address says nothing of another; a pin still counts."""
    world = World(servers="ab", persistence=PersistenceKind.IKE_SPI)
    (first,) = office(world, 1)
    assert world.client_sends((OFFICE, 50_000), NAT_T, esp(0x51)) == first.server.name
    assert world.sessions()[-1].why == "port following"
    office(world, 3)
    world.client_sends((OFFICE, 50_001), NAT_T, esp(0x52))
    assert world.sessions()[-1].why == "scheduled by round-robin"
    world.service.persistence.pin(f"{OFFICE}/32", world.server("b"), world.now_s)
    assert world.client_sends((OFFICE, 50_002), NAT_T, esp(0x53)) == "b"
    assert world.client_sends((OFFICE, 50_003), IKE, init(999)) == "b"


def test_one_client_of_an_office_whose_mapping_changes_keeps_its_server() -> None:
    """Its SPIs tell it from its neighbours, in IKE as in ESP."""
    world = World(servers="abc", persistence=PersistenceKind.IKE_SPI)
    sessions = office(world, 9)
    for number, session in enumerate(sessions, start=1):
        world.client_sends((OFFICE, 30_000 + number), NAT_T, esp(0xE000 + number))
        assert world.client_sends((OFFICE, 40_000 + number), NAT_T, esp(0xE000 + number)) == session.server.name
        assert world.client_sends((OFFICE, 50_000 + number), NAT_T, informational(number)) == session.server.name
    assert world.sessions() == sessions
    audit(world)


def test_sleeper_that_comes_back_with_a_new_spi_is_known_by_its_address_and_port() -> None:
    """Its flow was forgotten; its ESP has an SPI that was agreed meanwhile or never seen: it is no second session."""
    world = world_of_sessions()
    session = tunnel(world)
    world.later(400)
    assert phase_of(session) is Phase.IDLE
    assert world.client_sends(HOME, NAT_T, esp(0x77)) == session.server.name
    world.server_sends(HOME, NAT_T, esp(0x78))
    assert (world.sessions(), phase_of(session)) == ([session], Phase.ESTABLISHED)
    assert session.why == "scheduled by round-robin"
    audit(world)


def test_recognised_session_keeps_the_esp_spis_of_its_stand_in() -> None:
    """What the nameless tunnel's ESP showed is true of the session that it turns out to be."""
    world = World(servers="a", persistence=PersistenceKind.NONE)
    session = world.connect(ALICE, 1)
    for _ in range(2):
        world.client_sends(CAFE, NAT_T, esp(INWARD))
        world.server_sends(CAFE, NAT_T, esp(OUTWARD))
    assert len(world.sessions()) == 2
    world.client_sends(CAFE, NAT_T, encrypted(1, Exchange.INFORMATIONAL, message_id=2))
    world.server_sends(CAFE, NAT_T, answer(1, 2))
    assert world.sessions() == [session]
    assert (session.esp_in, session.esp_out) == ((INWARD,), (OUTWARD,))
    assert world.service.tunnel_of(INWARD) is session
    audit(world)
