"""What should never happen is counted with its client and servers, and what is well is not."""

from __future__ import annotations

import pytest

from engine.config.schema import PersistenceKind, Timeouts
from engine.sessions.flow import Port
from engine.sessions.invariants import (
    CAME_BACK_S,
    EXPELLED_S,
    LARGEST_WHOLE_V4_BYTES,
    LARGEST_WHOLE_V6_BYTES,
    EspFirst,
    FragmentedAuth,
    IdleTooShort,
    PortsSplit,
    SpiSplit,
    StrangeReply,
    Violation,
    reply_from_elsewhere,
)
from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.header import RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from tests.engine.sessions.session_world import (
    IKE,
    NAT_T,
    World,
    at,
    auth,
    auth_answer,
    encrypted,
    esp,
    init,
    init_answer,
    seconds,
)

HOST, OTHER = "192.0.2.7", "192.0.2.8"
SPI = 0x4F2A_91C0_0000_0007
FRAGMENTATION = notify_payload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
SK_BYTES = 36
"""IKE header, non-ESP marker and payload header around the content of an encrypted message."""


def seen(world: World) -> dict[str, int]:
    return dict(world.service.violations.counts)


def latest(world: World) -> Violation:
    (found,) = world.service.violations.latest.values()
    return found


def split_by_port(**settings: bool) -> World:
    """A client whose IKE_SA_INIT and IKE_AUTH went to different servers."""
    world = World(persistence=PersistenceKind.NONE, **settings)
    assert world.client_sends(at(HOST, 500), IKE, init(SPI)) == "a"
    assert world.server_sends(at(HOST, 500), IKE, init_answer(SPI))
    world.client_sends(at(HOST, 4500), NAT_T, auth(SPI))
    return world


def test_a_tunnel_that_is_set_up_rekeyed_and_used_violates_nothing() -> None:
    world = World()
    world.connect(HOST, SPI)
    world.client_sends(at(HOST, 4500), NAT_T, encrypted(SPI, Exchange.CREATE_CHILD_SA, size_bytes=400))
    world.client_sends(at(HOST, 4500), NAT_T, esp())
    assert seen(world) == {}


def test_ports_that_are_not_followed_are_split_and_followed_ones_are_not() -> None:
    assert seen(split_by_port(port_following=True)) == {}
    world = split_by_port(port_following=False)
    assert seen(world) == {"ports-split": 1}
    assert latest(world) == PortsSplit(HOST, ike_server="a", nat_t_server="b")


def test_a_repeated_first_message_names_the_servers_of_the_ports_as_they_are() -> None:
    world = split_by_port(port_following=False)
    world.client_sends(at(HOST, 500), IKE, init(SPI))
    assert latest(world) == PortsSplit(HOST, ike_server="a", nat_t_server="b")


def test_one_port_of_a_client_at_two_servers_is_an_spi_split() -> None:
    world = World(persistence=PersistenceKind.NONE, port_following=False)
    world.client_sends(at(HOST, 500), IKE, init(SPI))
    world.client_sends(at(HOST, 501), IKE, init(SPI))
    assert latest(world) == SpiSplit(HOST, SPI, server="a", other_server="b")


def test_a_message_of_a_known_ike_sa_on_a_flow_of_another_server_is_an_spi_split() -> None:
    world = World(persistence=PersistenceKind.NONE)
    world.connect(HOST, SPI)
    world.connect(OTHER, SPI + 1)
    world.client_sends(at(OTHER, 4500), NAT_T, encrypted(SPI, Exchange.INFORMATIONAL))
    assert latest(world) == SpiSplit(OTHER, SPI, server="a", other_server="b")


def test_an_address_that_made_up_a_known_initiator_spi_has_not_split_it() -> None:
    world = World(persistence=PersistenceKind.NONE)
    world.connect(HOST, SPI)
    world.connect(OTHER, SPI + 1)
    world.client_sends(at(OTHER, 4500), NAT_T, encrypted(SPI, Exchange.INFORMATIONAL, responder_spi=99))
    assert seen(world) == {}


def test_esp_of_an_unknown_tunnel_is_counted_once_for_its_flow() -> None:
    world = World()
    for _ in range(3):
        world.client_sends(at(HOST, 4500), NAT_T, esp())
    assert seen(world) == {"esp-before-ike": 1}
    assert latest(world) == EspFirst(HOST, "a")


def test_esp_of_a_client_whose_session_the_engine_ended_is_no_violation_for_a_while() -> None:
    """Its server went down, or the operator moved it: it sends on until it notices."""
    world = World()
    violations = world.service.violations
    violations.expel(HOST, world.now_s)
    world.client_sends(at(HOST, 4500), NAT_T, esp())
    assert seen(world) == {}
    assert not violations.was_expelled(HOST, world.now_s + EXPELLED_S + 1)


@pytest.mark.parametrize(("host", "largest"), [(HOST, LARGEST_WHOLE_V4_BYTES), ("2001:db8::7", LARGEST_WHOLE_V6_BYTES)])
def test_only_what_cannot_travel_whole_is_called_fragmented(host: str, largest: int) -> None:
    for excess in (0, 1):
        world = World()
        world.client_sends(at(host, 500), IKE, init(SPI))
        datagram = encrypted(SPI, Exchange.IKE_AUTH, size_bytes=largest - SK_BYTES + excess)
        assert len(datagram) == largest + excess
        world.client_sends(at(host, 4500), NAT_T, datagram)
        assert seen(world) == ({"auth-fragmented": 1} if excess else {})


@pytest.mark.parametrize("client_offers", [True, False])
@pytest.mark.parametrize("server_agrees", [True, False])
def test_fragmented_messages_tell_who_lacks_ike_fragmentation(client_offers: bool, server_agrees: bool) -> None:
    world = World()
    nonce = nonce_payload(bytes(32))
    world.client_sends(
        at(HOST, 500), IKE, build_message([nonce, FRAGMENTATION] if client_offers else [nonce], spi_i=SPI)
    )
    answer = build_message(
        [nonce, FRAGMENTATION] if server_agrees else [nonce], spi_i=SPI, spi_r=1, flags=RESPONSE_FLAG
    )
    assert world.server_sends(at(HOST, 500), IKE, answer)
    world.client_sends(at(HOST, 4500), NAT_T, encrypted(SPI, Exchange.IKE_AUTH, size_bytes=3000, responder_spi=1))
    facts = {"client_offers": client_offers, "server_agrees": server_agrees}
    assert latest(world) == FragmentedAuth(HOST, "a", 3000 + SK_BYTES, True, **facts)
    assert world.server_sends(at(HOST, 4500), NAT_T, auth_answer(SPI, 2000))
    assert latest(world) == FragmentedAuth(HOST, "a", 2000 + SK_BYTES, False, **facts)


def test_whose_first_message_was_not_seen_may_have_offered_ike_fragmentation() -> None:
    world = World()
    world.client_sends(at(HOST, 4500), NAT_T, encrypted(SPI, Exchange.IKE_AUTH, size_bytes=3000))
    found = world.service.violations.latest[FragmentedAuth.kind]
    assert isinstance(found, FragmentedAuth)
    assert found.client_offers is None


@pytest.mark.parametrize(("silent_s", "told"), [(99, False), (100 + CAME_BACK_S, True), (101 + CAME_BACK_S, False)])
def test_a_flow_that_idles_out_and_is_back_within_a_minute_was_forgotten_too_soon(silent_s: float, told: bool) -> None:
    world = World(timeouts=Timeouts(nat_t_idle_s=seconds(100), ike_idle_s=seconds(50)))
    world.connect(HOST, SPI)
    world.later(silent_s)
    world.client_sends(at(HOST, 4500), NAT_T, encrypted(SPI, Exchange.INFORMATIONAL))
    assert seen(world) == ({"idle-too-short": 1} if told else {})
    if told:
        assert latest(world) == IdleTooShort(HOST, "a", silent_s)


def test_a_client_whose_server_was_down_says_nothing_about_timeouts() -> None:
    """Its messages went elsewhere meanwhile, in vain."""
    world = World(timeouts=Timeouts(nat_t_idle_s=seconds(100), ike_idle_s=seconds(50)))
    world.connect(HOST, SPI)
    world.probe("a", ok=True)
    world.fail("a")
    world.later(110)
    world.probe("a", ok=True)
    assert world.client_sends(at(HOST, 4500), NAT_T, encrypted(SPI, Exchange.INFORMATIONAL)) == "a"
    assert seen(world) == {}


def test_a_client_that_moved_while_it_slept_says_nothing_about_timeouts() -> None:
    world = World(timeouts=Timeouts(nat_t_idle_s=seconds(100), ike_idle_s=seconds(50)))
    world.connect(HOST, SPI)
    world.later(110)
    world.client_sends(at(OTHER, 4500), NAT_T, encrypted(SPI, Exchange.INFORMATIONAL))
    assert seen(world) == {}


@pytest.mark.parametrize("port", list(Port))
def test_a_reply_from_elsewhere_counts_only_for_a_client_that_waits_for_one(port: Port) -> None:
    world = World()
    address = at(HOST, 500 if port is IKE else 4500)
    world.client_sends(address, port, init(SPI) if port is IKE else bytes(4) + init(SPI))
    session = world.only_session()
    reply_from_elsewhere(session, "10.0.0.99")
    assert latest(world) == StrangeReply(HOST, "a", "10.0.0.99")
    assert world.server_sends(address, port, init_answer(SPI) if port is IKE else bytes(4) + init_answer(SPI))
    reply_from_elsewhere(session, "10.0.0.99")
    assert seen(world) == {"strange-replies": 1}


@pytest.mark.parametrize(("asked", "answered", "told"), [(2, False, True), (1, False, False), (2, True, False)])
def test_a_client_that_gives_up_without_any_answer_is_counted(asked: int, answered: bool, told: bool) -> None:
    world = World()
    for _ in range(asked):
        world.client_sends(at(HOST, 500), IKE, init(SPI))
    if answered:
        assert world.server_sends(at(HOST, 500), IKE, init_answer(SPI))
    assert seen(world) == {}
    world.later(200)
    assert world.sessions() == []
    assert seen(world) == ({"no-replies": 1} if told else {})
