"""What the sessions show of real and of forged conversations: phases, SPIs, one session for each IKE SA."""

from __future__ import annotations

import pytest

from engine.sessions.flow import SocketAddress
from engine.sessions.session import MESSAGES_KEPT, SPI_PAIRS_KEPT, Phase, Session
from engine.wire.build import build_message, notify_payload
from engine.wire.header import INITIATOR_FLAG, RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType, parse_message
from tests.engine.sessions.session_captures import play
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    REFUSAL_BYTES,
    World,
    answer_spi,
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
    phase_of,
)

ALICE = "198.51.100.1"
ON_500: SocketAddress = (ALICE, 500)
ON_4500: SocketAddress = (ALICE, 4500)
SET_UP = [Phase.INIT, Phase.AUTH, Phase.ESTABLISHED]


@pytest.mark.parametrize(
    "capture",
    [
        "connect-badke",
        "connect-bigcert",
        "connect-cert",
        "connect-cert-lan",
        "connect-ipfrag",
        "connect-psk",
        "dpd-by-client",
    ],
)
def test_one_client_comes_and_goes(capture: str) -> None:
    """A real handshake is one session with one SPI pair and both flows; its goodbye is noticed half a minute later."""
    world = World()
    ((session, phases),) = play(world, capture).items()
    assert phases == SET_UP
    assert [flow.port for flow in session.flows] == [IKE, NAT_T]
    ((spi_i, spi_r),) = session.spis
    assert spi_i
    assert spi_r
    world.later(31)
    assert world.sessions() == []


@pytest.mark.parametrize("capture", ["client-gone", "server-gone"])
def test_peer_that_vanishes_without_a_word(capture: str) -> None:
    """Without a goodbye the session stays until its flows have been silent, then sleeps, then is forgotten."""
    world = World()
    ((session, phases),) = play(world, capture).items()
    assert phases == SET_UP
    world.later(240)
    assert phase_of(session) is Phase.ESTABLISHED
    world.later(60)
    assert phase_of(session) is Phase.IDLE
    world.later(3600)
    assert world.sessions() == []


def test_cookie_is_a_phase_of_its_own() -> None:
    """The server's demand for a cookie shows; the client's retry is the same session, on the same server."""
    scan, client = play(World(), "cookie").values()
    assert scan == [Phase.INIT]
    assert client == [Phase.INIT, Phase.COOKIE, Phase.AUTH, Phase.ESTABLISHED]


def test_scan_leaves_half_open_sessions_that_end() -> None:
    """ike-scan on both ports is two half-open sessions, gone after half a minute."""
    world = World()
    assert list(play(world, "ike-scan").values()) == [[Phase.INIT], [Phase.INIT]]
    world.later(31)
    assert world.sessions() == []


@pytest.mark.parametrize(
    ("capture", "clients"),
    [
        ("mobike-move", ["198.18.1.3:500", "198.18.1.3:4500", "198.18.2.33:4500"]),
        ("nat-rebind-address", ["198.18.3.1:21249", "198.18.3.1:20569", "198.18.3.2:37592"]),
        ("nat-rebind-ports", ["198.18.3.1:500", "198.18.3.1:4500", "198.18.3.1:20569"]),
    ],
)
def test_roaming_client_stays_one_session(capture: str, clients: list[str]) -> None:
    """A client that changes its address or port goes on as the session it was, on the server it had."""
    ((session, phases),) = play(World(), capture).items()
    assert phases == [*SET_UP, Phase.MOVED]
    assert [f"{flow.client[0]}:{flow.client[1]}" for flow in session.flows] == clients
    assert len(session.spis) == 1


def test_two_clients_behind_one_nat_are_two_sessions() -> None:
    """One address, two IKE SAs: told apart by ports and SPIs, each with its own flows."""
    first, second = play(World(), "nat-two-clients")
    assert first.host == second.host
    assert not set(first.flows) & set(second.flows)
    assert first.phase is second.phase is Phase.ESTABLISHED


def test_two_clients_polled_by_the_server() -> None:
    """Liveness checks that the server begins keep both of its sessions what they are."""
    assert list(play(World(), "dpd-by-server").values()) == [SET_UP, SET_UP]


@pytest.mark.parametrize("capture", ["rekey-child", "rekey-child-by-server", "rekey-ike", "rekey-ike-by-server"])
def test_rekeying_stays_one_session(capture: str) -> None:
    """New keys, and the deletion of the old IKE SA, neither begin nor end a session."""
    world = World()
    ((session, phases),) = play(world, capture).items()
    assert phases[-1] is Phase.ESTABLISHED
    world.later(60)
    assert world.sessions() == [session]
    assert phase_of(session) is Phase.ESTABLISHED


def test_reauthentication_replaces_the_session() -> None:
    """A new IKE SA in place of a deleted one: the old session ends with the new one's first message."""
    world = World()
    old, new = play(world, "reauthenticate")
    assert old.phase is Phase.CLOSED
    assert world.sessions() == [new]
    assert new.phase is Phase.ESTABLISHED


def test_deletion_by_the_server_ends_the_session() -> None:
    """The server's goodbye is noticed like the client's."""
    world = World()
    play(world, "delete-by-server")
    world.later(31)
    assert world.sessions() == []


def looks_deleted(world: World, *, answer: bytes | None = None) -> Session:
    """A session of Alice's with an exchange that may have ended it: a request bigger than its answer."""
    session = world.connect(ALICE, 1)
    world.later(10)
    world.client_sends(ON_4500, NAT_T, encrypted(1, Exchange.INFORMATIONAL, size_bytes=60))
    answer = answer or encrypted(1, Exchange.INFORMATIONAL, from_server=True, response=True, size_bytes=40)
    world.server_sends(ON_4500, NAT_T, answer)
    world.later(1)
    return session


def test_deleted_session_gives_way_to_the_next_on_its_flow() -> None:
    """Who comes back from the same ports after a deletion is counted once."""
    world = World()
    old = looks_deleted(world)
    world.client_sends(ON_500, IKE, init(2))
    assert old.phase is Phase.CLOSED


def test_neighbour_behind_the_same_nat_ends_no_session() -> None:
    """A MOBIKE update looks like a deletion: another client of the address must not be taken for its successor."""
    world = World()
    session = looks_deleted(world)
    world.client_sends((ALICE, 61_000), IKE, init(2))
    assert session in world.sessions()
    world.client_sends(ON_4500, NAT_T, esp())
    world.later(40)
    assert session in world.sessions()


def test_only_an_encrypted_answer_ends_a_session() -> None:
    """A forged request draws "no such SPI" in the clear: that must not pass for a deletion."""
    world = World()
    refusal = build_message(
        [notify_payload(NotifyType.INVALID_IKE_SPI)],
        spi_i=1,
        spi_r=answer_spi(1),
        exchange=Exchange.INFORMATIONAL,
        flags=RESPONSE_FLAG,
        message_id=1,
    )
    session = looks_deleted(world, answer=bytes(4) + refusal)
    world.client_sends(ON_500, IKE, init(2))
    world.later(60)
    assert session in world.sessions()


def test_what_the_client_offers_is_kept_for_whoever_looks() -> None:
    """The latest IKE_SA_INIT stays readable, of the session that sent it, not of whichever is newest on the flow."""
    ((session, _),) = play(World(), "connect-badke").items()
    assert parse_message(session.init_message).ke_name == "x25519"
    world = World()
    for spi in (1, 2, 1):
        world.client_sends(ON_500, IKE, init(spi))
    assert [s.init_message for s in world.sessions()] == [init(1), init(2)]


@pytest.mark.parametrize("forged", [init(1), init_answer(9)], ids=["its-own-spi", "response"])
def test_nobody_changes_what_the_client_of_an_established_session_offered(forged: bytes) -> None:
    """The console would show its vendor wrongly: whoever knows a client's address can send under it."""
    world = World()
    session = world.connect(ALICE, 1)
    offered = session.init_message
    other = forged[:-1] + b"x"
    world.client_sends(ON_4500, NAT_T, bytes(4) + other)
    assert session.init_message == offered
    audit(world)


def test_messages_are_noted_and_few_are_kept() -> None:
    """The console's list of a session's latest messages has directions, exchanges and sizes, and a bound."""
    ((session, _),) = play(World(), "connect-psk").items()
    assert [(m.inward, m.exchange, m.response, m.size_bytes) for m in session.messages][:4] == [
        (True, Exchange.IKE_SA_INIT, False, 276),
        (False, Exchange.IKE_SA_INIT, True, 265),
        (True, Exchange.IKE_AUTH, False, 349),
        (False, Exchange.IKE_AUTH, True, 237),
    ]
    world = World()
    session = world.connect(ALICE, 1)
    for _ in range(50):
        world.client_sends(ON_4500, NAT_T, informational(1))
    assert len(session.messages) == MESSAGES_KEPT


def half_open(world: World, spi: int = 1) -> Session:
    """A client whose IKE_AUTH is under way."""
    world.client_sends(ON_500, IKE, init(spi))
    world.server_sends(ON_500, IKE, init_answer(spi))
    world.client_sends(ON_4500, NAT_T, auth(spi))
    return world.service.by_spi[spi]


@pytest.mark.parametrize("datagram", [informational(7), create_child(7), esp(), KEEPALIVE, auth(7)])
def test_no_client_makes_itself_established(datagram: bytes) -> None:
    """Anybody can send any datagram, from any address: without the server's word it is a half-open session at most.

    Otherwise one forged datagram each would fill the table with sessions that nothing may evict.
    """
    world = World()
    world.client_sends(ON_500, IKE, init(7))
    for _ in range(3):
        world.client_sends(ON_500, IKE, datagram[4:])
        world.client_sends(ON_4500, NAT_T, datagram)
    assert all(session.half_open for session in world.sessions())


def test_refused_client_is_not_established() -> None:
    """A short IKE_AUTH answer is a refusal: a keepalive or ESP after it proves nothing, the session ends."""
    world = World()
    session = half_open(world)
    world.server_sends(ON_4500, NAT_T, auth_answer(1, REFUSAL_BYTES))
    world.client_sends(ON_4500, NAT_T, KEEPALIVE)
    world.client_sends(ON_4500, NAT_T, esp())
    assert phase_of(session) is Phase.AUTH
    world.later(30)
    assert world.sessions() == []


@pytest.mark.parametrize("alive", [KEEPALIVE, esp()])
@pytest.mark.parametrize("from_server", [True, False])
def test_traffic_after_the_answer_establishes(alive: bytes, from_server: bool) -> None:
    """ESP or a keepalive after the server's IKE_AUTH answer shows, either way, that the tunnel is up."""
    world = World()
    session = half_open(world)
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    assert phase_of(session) is Phase.AUTH
    if from_server:
        world.server_sends(ON_4500, NAT_T, alive)
    else:
        world.client_sends(ON_4500, NAT_T, alive)
    assert phase_of(session) is Phase.ESTABLISHED


def test_silence_after_the_answer_establishes() -> None:
    """A tunnel without traffic: two quiet seconds after the server's last word in IKE_AUTH it counts as up."""
    world = World()
    session = half_open(world)
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    world.later(1.5)
    assert phase_of(session) is Phase.AUTH
    world.later(0.5)
    assert phase_of(session) is Phase.ESTABLISHED


def test_small_last_fragment_is_no_refusal() -> None:
    """An IKE_AUTH answer in fragments is as big as all of them, however little the last one carries."""
    world = World()
    session = half_open(world)
    for size_bytes in (1200, 30):
        world.server_sends(ON_4500, NAT_T, auth_answer(1, size_bytes, PayloadType.SKF))
    world.later(2)
    assert phase_of(session) is Phase.ESTABLISHED


def test_eap_that_goes_on_is_half_open_again() -> None:
    """A person at the keyboard: the server's EAP question looked like the end of IKE_AUTH, and was not."""
    world = World()
    session = half_open(world)
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    world.later(10)
    assert phase_of(session) is Phase.ESTABLISHED
    world.client_sends(ON_4500, NAT_T, encrypted(1, Exchange.IKE_AUTH, message_id=2))
    assert phase_of(session) is Phase.AUTH
    world.server_sends(ON_4500, NAT_T, auth_answer(1, REFUSAL_BYTES))
    world.later(30)
    assert world.sessions() == []


def test_repeated_request_does_not_undo_an_established_session() -> None:
    """A late copy of IKE_AUTH must not put a session among those that may be evicted."""
    world = World(max_sessions=1)
    session = world.connect(ALICE, 1)
    world.client_sends(ON_4500, NAT_T, auth(1))
    assert phase_of(session) is Phase.ESTABLISHED
    assert world.client_sends(("203.0.113.1", 500), IKE, init(2)) is None
    assert world.sessions() == [session]


def test_unknown_spi_said_in_the_clear_proves_nothing() -> None:
    """INVALID_IKE_SPI comes unprotected (RFC 7296 section 2.21.4): the server does not know the IKE SA at all."""
    world = World()
    world.client_sends(ON_4500, NAT_T, informational(1))
    world.server_sends(
        ON_4500,
        NAT_T,
        encrypted(1, Exchange.INFORMATIONAL, from_server=True, response=True, payload=PayloadType.N, size_bytes=8),
    )
    assert world.only_session().half_open
    world.server_sends(ON_4500, NAT_T, informational(1, from_server=True, response=True))
    assert world.only_session().phase is Phase.ESTABLISHED


def test_tunnel_found_by_its_esp_is_the_servers_to_confirm() -> None:
    """After a restart ESP comes first: a guess until the server answers, an unnamed tunnel then, named by IKE later."""
    world = World()
    world.client_sends(ON_4500, NAT_T, esp())
    session = world.only_session()
    assert (session.phase, session.anonymous) == (Phase.INIT, True)
    world.server_sends(ON_4500, NAT_T, esp())
    assert (session.phase, session.anonymous) == (Phase.ESTABLISHED, True)
    world.client_sends(ON_4500, NAT_T, informational(1))
    world.server_sends(ON_4500, NAT_T, informational(1, from_server=True, response=True))
    assert world.only_session() is session
    assert session.spis == ((1, answer_spi(1)),)
    audit(world)


def test_rekeyed_spis_go_to_the_session_that_negotiated() -> None:
    """Of two tunnels on one flow, SPIs never seen before belong to the one whose CREATE_CHILD_SA passed last."""
    world = World()
    device = world.connect(ALICE, 1)
    world.client_sends(ON_4500, NAT_T, bytes(4) + init(2))
    world.later(1)
    world.client_sends(ON_4500, NAT_T, create_child(1))
    world.client_sends(ON_4500, NAT_T, informational(55))
    world.server_sends(ON_4500, NAT_T, informational(55, from_server=True, response=True))
    assert world.service.by_spi[55] is device
    assert device.spis == ((1, answer_spi(1)), (55, answer_spi(55)))


def test_rekeyed_session_is_found_by_its_new_spi_after_roaming() -> None:
    """New SPIs lead to the session from any address, and old ones are forgotten only when there are many."""
    world = World()
    session = world.connect(ALICE, 1)
    for spi in range(2, 8):
        world.client_sends(ON_4500, NAT_T, create_child(spi - 1))
        world.server_sends(ON_4500, NAT_T, informational(spi, from_server=True))
    assert [spi for spi, _ in session.spis] == [4, 5, 6, 7]
    assert len(session.spis) == SPI_PAIRS_KEPT
    assert world.client_sends(("203.0.113.9", 4500), NAT_T, informational(7)) == session.server.name
    assert world.sessions() == [session]
    audit(world)


def test_made_up_spis_do_not_push_known_ones_out() -> None:
    """Forged messages on a client's flow reach the server and change nothing: only its answers bind SPIs."""
    world = World()
    session = world.connect(ALICE, 1)
    for spi in range(100, 200):
        world.client_sends(ON_4500, NAT_T, informational(spi))
    assert session.spis == ((1, answer_spi(1)),)
    assert list(world.service.by_spi) == [1]


def test_cookie_demand_that_cannot_be_read_still_reaches_the_client() -> None:
    """A server's message with payloads we do not understand is the client's to judge."""
    world = World()
    world.client_sends(ON_500, IKE, init(1))
    assert world.server_sends(ON_500, IKE, cookie_demand(1))
    odd = bytearray(cookie_demand(1))
    odd[30] = 0xFF
    assert world.server_sends(ON_500, IKE, bytes(odd))
    assert not world.service.drops


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "runt"),
        (b"\x00", "runt"),
        (bytes(4) + b"short", "runt"),
        (esp()[:7], "runt"),
        (bytes(4) + bytes(28), "ike-version"),
        (bytes(4) + init(1)[:17] + b"\x10" + init(1)[18:], "ike-v1"),
        (bytes(4) + bytes(8) + init(1)[8:], "zero-spi"),
        (bytes(4) + init(1)[:40], "truncated"),
        (bytes(4) + init(1)[:24] + bytes(4) + init(1)[28:], "bad-length"),
    ],
)
def test_malformed_is_counted_by_reason(datagram: bytes, reason: str) -> None:
    """Each kind of malformed datagram is dropped under its own name, from either side, and makes nothing."""
    world = World()
    assert world.client_sends(ON_4500, NAT_T, datagram) is None
    assert world.service.drops == {reason: 1}
    assert not world.sessions()
    world.client_sends(ON_4500, NAT_T, bytes(4) + init(1))
    assert not world.server_sends(ON_4500, NAT_T, datagram)
    assert world.service.drops == {reason: 1, f"from-server-{reason}": 1}


def test_keepalive_between_ports_is_no_confusion() -> None:
    """One byte 0xFF is a keepalive on 4500 only; on 500 it is a runt."""
    world = World()
    assert world.client_sends(ON_500, IKE, KEEPALIVE) is None
    assert world.service.drops == {"runt": 1}


def test_answer_flags_do_not_matter_for_the_direction() -> None:
    """A server that began the rekeyed IKE SA is its initiator: its SPI stands first, and binds just the same."""
    world = World()
    session = world.connect(ALICE, 1)
    world.client_sends(ON_4500, NAT_T, create_child(1))
    message = bytearray(informational(77, from_server=True))
    message[4 + 19] |= INITIATOR_FLAG
    world.server_sends(ON_4500, NAT_T, bytes(message))
    assert world.service.by_spi[77] is session
