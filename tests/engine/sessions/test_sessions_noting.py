"""What is kept of the messages of a session: what came again, what was complained of, how long it took."""

from __future__ import annotations

import pytest

from engine.sessions.handshakes import HANDSHAKES_KEPT, Handshakes
from engine.sessions.session import Phase, Session
from engine.sessions.trouble import AUTH_REFUSED, REFUSAL_QUIET_S, last_trouble
from engine.wire.build import build_message, notify_payload, vendor_payload
from engine.wire.header import INITIATOR_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType
from tests.engine.sessions.session_captures import play
from tests.engine.sessions.session_world import (
    IKE,
    NAT_T,
    REFUSAL_BYTES,
    World,
    auth,
    auth_answer,
    complaint,
    cookie_demand,
    encrypted,
    informational,
    init,
    init_answer,
)

ON_500, ON_4500 = ("198.51.100.1", 500), ("198.51.100.1", 4500)


@pytest.fixture
def world() -> World:
    return World(servers="a")


def repeated(session: Session) -> list[tuple[bool, int]]:
    return [(message.inward, message.message_id) for message in session.messages if message.repeated]


def refuse_in_auth(world: World) -> Session:
    world.client_sends(ON_500, IKE, init(1))
    world.server_sends(ON_500, IKE, init_answer(1))
    world.client_sends(ON_4500, NAT_T, auth(1))
    world.server_sends(ON_4500, NAT_T, auth_answer(1, REFUSAL_BYTES))
    return world.only_session()


def test_what_comes_again_to_the_bit_is_a_retransmission_of_the_session_and_of_its_server(world: World) -> None:
    session = world.connect("198.51.100.1", 1)
    for _ in range(3):
        world.client_sends(ON_4500, NAT_T, informational(1))
    for _ in range(2):
        world.server_sends(ON_4500, NAT_T, informational(1, response=True, from_server=True))
    assert (session.retransmitted_in, session.retransmitted_out) == (2, 1)
    assert repeated(session) == [(True, 2), (True, 2), (False, 2)]
    assert (world.server("a").retransmitted_in, world.server("a").retransmitted_out) == (2, 1)


@pytest.mark.parametrize(
    "capture", ["connect-bigcert", "connect-badke", "rekey-ike", "rekey-child-by-server", "cookie"]
)
def test_fragments_new_attempts_and_new_spis_are_none(capture: str) -> None:
    """Message ids begin anew with an IKE SA, and fragments share one: none of these was sent twice."""
    for session in play(World(), capture):
        assert (session.retransmitted_in, session.retransmitted_out) == (0, 0)


def test_retransmissions_of_a_real_server_whose_client_is_gone() -> None:
    """Its liveness check went out five times."""
    (session,) = play(World(), "client-gone")
    assert (session.retransmitted_in, session.retransmitted_out) == (0, 4)


def test_a_handshake_lasts_from_the_first_message_to_the_last_answer_in_ike_auth(world: World) -> None:
    """Neither the traffic that proves it over nor what is sent again later counts."""
    world.client_sends(ON_500, IKE, init(1))
    world.later(0.1)
    world.server_sends(ON_500, IKE, cookie_demand(1))
    world.client_sends(ON_500, IKE, init(1))
    world.server_sends(ON_500, IKE, init_answer(1))
    world.client_sends(ON_4500, NAT_T, auth(1))
    world.later(0.2)
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    session = world.only_session()
    assert session.handshake_s is None
    world.later(5)
    assert session.phase is Phase.ESTABLISHED
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    assert session.handshake_s == pytest.approx(0.3)
    assert len(world.server("a").handshakes) == 1
    assert world.server("a").handshakes.quantile_s(0.5) == pytest.approx(0.3)


def test_a_tunnel_that_was_there_before_has_no_handshake(world: World) -> None:
    world.client_sends(ON_4500, NAT_T, auth(1))
    world.server_sends(ON_4500, NAT_T, auth_answer(1))
    world.later(5)
    assert world.only_session().phase is Phase.ESTABLISHED
    assert world.only_session().handshake_s is None
    assert len(world.server("a").handshakes) == 0


def test_times_of_handshakes_are_of_the_latest() -> None:
    """The median is one of them; 95 of 100 take no longer than the other."""
    handshakes = Handshakes()
    assert handshakes.quantile_s(0.5) is None
    for _ in range(HANDSHAKES_KEPT):
        handshakes.add(1000.0)
    for took in range(1, HANDSHAKES_KEPT + 1):
        handshakes.add(float(took))
    assert len(handshakes) == HANDSHAKES_KEPT
    assert handshakes.quantile_s(0.5) == HANDSHAKES_KEPT / 2
    assert handshakes.quantile_s(0.95) == 244.0
    assert handshakes.quantile_s(1.0) == HANDSHAKES_KEPT


def test_an_error_of_the_server_is_kept_with_its_meaning(world: World) -> None:
    world.client_sends(ON_500, IKE, init(1))
    world.server_sends(ON_500, IKE, complaint(1, NotifyType.INVALID_KE_PAYLOAD, data=(20).to_bytes(2)))
    trouble = last_trouble(world.only_session(), world.now_s)
    assert trouble is not None
    assert (trouble.inward, trouble.name) == (False, "INVALID_KE_PAYLOAD")
    assert trouble.meaning == "it wants key exchange group ecp384: the client tries again"
    world.connect("198.51.100.1", 1)
    later = last_trouble(world.only_session(), world.now_s)
    assert later == trouble


def test_an_error_outside_of_any_ike_sa_is_that_of_the_session_it_names(world: World) -> None:
    """Its exchange type is that of the request (RFC 7296 section 1.5)."""
    session = world.connect("198.51.100.1", 1)
    world.client_sends(ON_4500, NAT_T, informational(1))
    answer = complaint(1, NotifyType.INVALID_IKE_SPI, Exchange.INFORMATIONAL)
    assert world.server_sends(ON_4500, NAT_T, bytes(4) + answer)
    trouble = last_trouble(session, world.now_s)
    assert trouble is not None
    assert (trouble.name, trouble.inward) == ("INVALID_IKE_SPI", False)
    assert session.phase is Phase.ESTABLISHED


def test_an_error_of_the_client_is_told_as_its_own(world: World) -> None:
    session = world.connect("198.51.100.1", 1)
    payloads = [vendor_payload(b"somebody"), notify_payload(NotifyType.INVALID_SPI, bytes(4))]
    said = build_message(payloads, spi_i=1, exchange=Exchange.INFORMATIONAL, flags=INITIATOR_FLAG)
    world.client_sends(ON_4500, NAT_T, bytes(4) + said)
    trouble = last_trouble(session, world.now_s)
    assert trouble is not None
    assert (trouble.name, trouble.inward) == ("INVALID_SPI", True)


@pytest.mark.parametrize(
    "payloads",
    [
        [(PayloadType.N, b"\0\0\0")],
        [notify_payload(NotifyType.NO_PROPOSAL_CHOSEN), (PayloadType.V, bytes(500))],
        [notify_payload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))],
    ],
    ids=["damaged", "too long", "no error"],
)
def test_what_is_no_readable_error_is_forwarded_and_forgotten(world: World, payloads: list[tuple[int, bytes]]) -> None:
    session = world.connect("198.51.100.1", 1)
    said = build_message(payloads, spi_i=1, exchange=Exchange.INFORMATIONAL, flags=0)
    assert world.server_sends(ON_4500, NAT_T, bytes(4) + said)
    assert last_trouble(session, world.now_s) is None


def test_a_small_answer_in_ike_auth_is_probably_a_refusal_once_the_client_says_no_more(world: World) -> None:
    session = refuse_in_auth(world)
    assert last_trouble(session, world.now_s) is None
    trouble = last_trouble(session, world.now_s + REFUSAL_QUIET_S)
    assert trouble is not None
    assert trouble.name == AUTH_REFUSED
    world.client_sends(ON_4500, NAT_T, encrypted(1, Exchange.IKE_AUTH, message_id=2))
    assert last_trouble(session, world.now_s + REFUSAL_QUIET_S) is None
