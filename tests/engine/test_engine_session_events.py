"""What the history tells of sessions: that they came up, why they failed, how they ended."""

from __future__ import annotations

import pytest

from engine.config.schema import PersistenceKind
from engine.sessions.endings import EVICTED
from engine.wire.build import build_message, nonce_payload
from engine.wire.header import RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from tests.engine.sessions.session_world import (
    IKE,
    NAT_T,
    REFUSAL_BYTES,
    World,
    answer_spi,
    auth,
    auth_answer,
    complaint,
    cookie_demand,
    encrypted,
    esp,
    init,
    init_answer,
)

HOST = "198.51.100.1"
FIRST, THEN = (HOST, 500), (HOST, 4500)


@pytest.fixture
def world() -> World:
    return World(servers="a", persistence=PersistenceKind.NONE)


def told(world: World) -> list[tuple[str, str]]:
    events = world.events.after(0, 100)
    assert all((event.service, event.server, event.client) == ("vpn", "a", HOST) for event in events)
    return [(event.kind, event.text) for event in events]


def full_init_answer() -> bytes:
    """As long as one with a proposal and a public key."""
    return build_message([nonce_payload(bytes(200))], spi_i=1, spi_r=answer_spi(1), flags=RESPONSE_FLAG)


def delete(world: World, *, by_server: bool) -> None:
    """A Delete payload and its empty answer."""
    ask = encrypted(1, Exchange.INFORMATIONAL, from_server=by_server, size_bytes=60, message_id=7)
    answer = encrypted(1, Exchange.INFORMATIONAL, from_server=not by_server, response=True, size_bytes=30, message_id=7)
    for datagram, from_server in ((ask, by_server), (answer, not by_server)):
        if from_server:
            world.server_sends(THEN, NAT_T, datagram)
        else:
            world.client_sends(THEN, NAT_T, datagram)


def test_a_session_that_came_up_is_told_once_with_how_long_it_took(world: World) -> None:
    world.client_sends(FIRST, IKE, init(1))
    world.now_s += 0.25
    world.server_sends(FIRST, IKE, init_answer(1))
    world.connect(HOST, 1)
    for _ in range(3):
        world.later(400)
        world.client_sends(THEN, NAT_T, encrypted(1, Exchange.INFORMATIONAL))
    assert told(world) == [
        ("session-established", f"{HOST}:4500 on a was set up in 250 ms; scheduled by round-robin"),
    ]


def test_a_tunnel_that_was_there_before_the_engine_has_no_handshake(world: World) -> None:
    world.client_sends(THEN, NAT_T, esp())
    world.server_sends(THEN, NAT_T, esp())
    assert told(world) == [
        (
            "session-established",
            f"{HOST}:4500 on a was there before: its IKE messages were not seen; scheduled by round-robin",
        ),
    ]


@pytest.mark.parametrize(("by_server", "who"), [(False, "the client"), (True, "a")])
def test_a_deleted_session_ended_by_whoever_asked(world: World, by_server: bool, who: str) -> None:
    session = world.connect(HOST, 1)
    session.ended_bytes_out = 1_234_567
    world.later(100)
    delete(world, by_server=by_server)
    world.later(40)
    (_, ended) = told(world)
    assert ended[0] == "session-ended"
    assert ended[1].startswith(f"{HOST}:4500 on a ended after 2 m: deleted by {who}; ")
    assert ended[1].endswith("1.2 MB out")


def test_a_session_that_falls_silent_says_so(world: World) -> None:
    world.connect(HOST, 1)
    world.later(400)
    world.later(4000)
    assert told(world)[-1][1].startswith(f"{HOST}:4500 on a ended after 0 s: nothing was heard of it any more; ")


def test_an_ending_that_somebody_ordered_has_their_reason(world: World) -> None:
    session = world.connect(HOST, 1)
    world.table.close(session, "moved to b by the operator")
    world.table.close(session, "twice")
    assert [kind for kind, _ in told(world)] == ["session-established", "session-ended"]
    assert ": moved to b by the operator; " in told(world)[-1][1]


STAGES = {
    "a never answered": [(IKE, True, init(1))],
    "the client never came back with the cookie that a demanded": [
        (IKE, True, init(1)),
        (IKE, False, cookie_demand(1)),
    ],
    "a refused it in IKE_SA_INIT": [(IKE, True, init(1)), (IKE, False, init_answer(1))],
    "the client fell silent after IKE_SA_INIT": [(IKE, True, init(1)), (IKE, False, full_init_answer())],
    "a never answered IKE_AUTH": [(IKE, True, init(1)), (IKE, False, full_init_answer()), (NAT_T, True, auth(1))],
    "a refused it in IKE_SA_INIT: NO_PROPOSAL_CHOSEN, it accepts none of the algorithms offered: "
    "compare the IKE proposals of both sides": [
        (IKE, True, init(1)),
        (IKE, False, complaint(1, NotifyType.NO_PROPOSAL_CHOSEN)),
    ],
    "a refused it in IKE_AUTH: INVALID_IKE_SPI, it has no such IKE SA: it restarted, or is another server; "
    "the client must reconnect": [
        (IKE, True, init(1)),
        (IKE, False, full_init_answer()),
        (NAT_T, True, auth(1)),
        (NAT_T, False, bytes(4) + complaint(1, NotifyType.INVALID_IKE_SPI, Exchange.IKE_AUTH)),
    ],
    "a probably refused it in IKE_AUTH: its answer is too small to accept anybody; its log says why": [
        (IKE, True, init(1)),
        (IKE, False, full_init_answer()),
        (NAT_T, True, auth(1)),
        (NAT_T, False, auth_answer(1, REFUSAL_BYTES)),
    ],
    "a fell silent during IKE_AUTH": [
        (IKE, True, init(1)),
        (IKE, False, full_init_answer()),
        (NAT_T, True, auth(1)),
        (NAT_T, False, auth_answer(1)),
        (NAT_T, True, encrypted(1, Exchange.IKE_AUTH, message_id=2)),
    ],
    "no IKE message of it was seen, and a answered nothing": [(NAT_T, True, esp())],
}


@pytest.mark.parametrize("reason", STAGES)
def test_a_session_that_never_came_up_says_where_it_stuck(world: World, reason: str) -> None:
    """What an operator needs to tell a dead server from a refused client from a spoofed address."""
    for port, inward, datagram in STAGES[reason]:
        client = FIRST if port is IKE else THEN
        if inward:
            world.client_sends(client, port, datagram)
        else:
            world.server_sends(client, port, datagram)
    world.later(400)
    ((kind, text),) = told(world)
    assert kind == "session-failed"
    assert text.endswith(f" on a was never set up: {reason}")
    assert world.events.after(0, 1)[0].severity == "notice"


def test_one_that_gave_way_says_so() -> None:
    world = World(servers="a", max_sessions=1)
    for spi in (1, 2):
        world.client_sends((HOST, 500 + spi), IKE, init(spi))
    assert told(world) == [("session-failed", f"{HOST}:501 on a was never set up: {EVICTED}")]


def test_a_stand_in_that_is_recognised_is_no_failure(world: World) -> None:
    world.connect(HOST, 1)
    world.client_sends((HOST, 9000), NAT_T, esp())
    world.client_sends((HOST, 9000), NAT_T, encrypted(1, Exchange.INFORMATIONAL))
    world.server_sends((HOST, 9000), NAT_T, esp())
    assert len(world.sessions()) == 1
    assert [kind for kind, _ in told(world)] == ["session-established", "session-moved"]


def test_a_client_that_goes_on_from_elsewhere_is_told_once_its_server_agrees(world: World) -> None:
    world.connect(HOST, 1)
    elsewhere = ("203.0.113.99", 4500)
    for _ in range(2):
        world.client_sends(elsewhere, NAT_T, encrypted(1, Exchange.INFORMATIONAL))
    came_up = told(world)
    assert len(came_up) == 1, "anybody can send such a message"
    for _ in range(2):
        world.server_sends(elsewhere, NAT_T, esp())
    (earlier, event) = world.events.after(0, 100)
    assert [(earlier.kind, earlier.text)] == came_up, "history does not change with the session"
    assert (event.kind, event.client) == ("session-moved", elsewhere[0])
    assert event.text == f"203.0.113.99:4500 goes on from there on a; it came from {HOST}:4500"
