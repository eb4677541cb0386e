"""What whoever can send packets, under any address, can make the balancer do."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.schema import CookieChallenge
from engine.sessions.flow import SocketAddress
from engine.sessions.session import Phase
from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.notifies import NotifyType
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    World,
    at,
    audit,
    auth,
    esp,
    informational,
    init,
    init_answer,
)

VICTIM = "198.51.100.7"
SPI = 0x1122_3344_5566_7788
ESP_SPI = 0xC0FF_EE01


def challenging() -> World:
    """A service that asks every new client for a cookie."""
    world = World(cookie_challenge=CookieChallenge.ALWAYS)
    world.forwarder.challenge.look([world.service], world.now_s)
    return world


def established() -> World:
    """A client with a tunnel that is in use."""
    world = World()
    world.connect(VICTIM, SPI)
    client = at(VICTIM, 4500)
    world.client_sends(client, NAT_T, esp(ESP_SPI))
    assert world.server_sends(client, NAT_T, esp(0xBEEF_0001))
    return world


@st.composite
def first_messages(draw: st.DrawFn) -> bytes:
    """Whatever may come first from an address, shortened and lengthened at random."""
    spi = draw(st.integers(0, 2**64 - 1))
    notifies = [notify_payload(NotifyType.COOKIE, draw(st.binary(max_size=70)))] if draw(st.booleans()) else []
    whole = build_message([*notifies, nonce_payload(bytes(draw(st.integers(16, 64))))], spi_i=spi)
    kept = draw(st.integers(0, len(whole)))
    return draw(
        st.sampled_from([whole, whole[:kept], draw(st.binary(max_size=200)), KEEPALIVE, esp(spi & 0xFFFF_FFFF)])
    )


@given(first_messages(), st.booleans())
def test_nobody_is_sent_more_than_came_under_his_name(message: bytes, nat_t: bool) -> None:
    """The one thing that the balancer says by itself is the demand for a cookie: smaller than what draws it."""
    world = challenging()
    port = NAT_T if nat_t else IKE
    datagram = bytes(4) + message if nat_t else message
    world.client_sends(at(VICTIM, 4500 if nat_t else 500), port, datagram)
    spoken = world.listeners[port].spoken
    assert sum(len(said) for _, said in spoken) < len(datagram) or not spoken
    assert all(len(world.listeners[other].spoken) == 0 for other in (IKE, NAT_T) if other is not port)


def test_what_is_demanded_of_a_service_is_nothing_that_it_would_answer() -> None:
    """Two balancers that are given each other's addresses as a client's fall silent at once."""
    here, there = challenging(), challenging()
    here.client_sends(at(VICTIM, 500), IKE, init(SPI))
    ((_, demand),) = here.listeners[IKE].spoken
    there.client_sends(at("203.0.113.20", 500), IKE, demand)
    assert there.listeners[IKE].spoken == []
    assert there.upstreams.sent == []
    assert there.service.drops["stray-response"] == 1


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(("203.0.113.10", 500), id="the service's own IKE port"),
        pytest.param(("203.0.113.10", 4500), id="the service's own NAT-T port"),
        pytest.param(("203.0.113.11", 4500), id="another service"),
        pytest.param(("10.0.0.11", 500), id="a real server's IKE port"),
        pytest.param(("10.0.0.12", 4500), id="a real server's NAT-T port"),
        pytest.param((VICTIM, 0), id="port 0, which nobody can answer"),
    ],
)
@pytest.mark.parametrize("mode", [CookieChallenge.OFF, CookieChallenge.ALWAYS])
@pytest.mark.parametrize("datagram", [init(SPI), init_answer(SPI), esp(ESP_SPI), bytes(4) + auth(SPI)[4:]])
def test_no_packet_goes_in_circles(source: SocketAddress, mode: CookieChallenge, datagram: bytes) -> None:
    """Else one forged packet from a service to itself would be forwarded for ever."""
    world = World(cookie_challenge=mode)
    world.forwarder.endpoints = frozenset(
        (host, port) for host in ("203.0.113.10", "203.0.113.11") for port in (500, 4500)
    )
    world.forwarder.challenge.look([world.service], world.now_s)
    port = IKE if datagram in (init(SPI), init_answer(SPI)) else NAT_T
    assert world.client_sends(source, port, datagram) is None
    assert world.sessions() == []
    assert not world.flow(source, port)


def test_packets_under_a_clients_address_and_port_leave_its_session_as_it_is() -> None:
    """They reach its real server, which knows them for forged: without its keys nothing else comes of them."""
    world = established()
    session = world.service.by_spi[SPI]
    before = (session.server, session.phase, session.place, list(session.spis), session.esp_in, session.esp_out)
    draw = Random(1)
    client = at(VICTIM, 4500)
    for _ in range(2_000):
        spi = draw.choice((SPI, draw.randrange(1, 1 << 64)))
        forged = draw.choice((auth(spi), informational(spi), bytes(4) + init(spi), esp(draw.randrange(256, 1 << 32))))
        world.client_sends(client, NAT_T, forged)
        assert world.flow(client, NAT_T) in session.flows
    assert (session.server, session.phase, session.place) == before[:3]
    assert set(before[3]) <= set(session.spis)
    audit(world)
    world.later(40.0)
    assert world.service.by_spi[SPI] is session
    assert session.phase is Phase.ESTABLISHED


def test_an_address_without_a_tunnel_costs_a_bounded_number_of_sessions() -> None:
    """Half-open sessions of one address and port are few, and silence ends them."""
    world = World(max_sessions=500)
    for spi in range(1, 5_000):
        world.client_sends(at(VICTIM, 500), IKE, init(spi))
    assert len(world.sessions()) < 50
    world.later(31.0)
    assert world.sessions() == []


def test_a_flood_under_forged_addresses_evicts_no_established_session() -> None:
    world = World(max_sessions=100, half_open_per_source=0)
    session = world.connect(VICTIM, SPI)
    for number in range(5_000):
        world.client_sends(
            at(f"100.{64 + number // 65536}.{number // 256 % 256}.{number % 256}", 500), IKE, init(number + 1)
        )
    assert world.service.by_spi[SPI] is session
    assert session.phase is Phase.ESTABLISHED
    assert len(world.sessions()) <= 100
    audit(world)
