"""The COOKIE challenge in front of the real servers: who gets through, what the others leave behind, when it is on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from net_gateway import gateway

from engine.config.schema import CookieChallenge, Timeouts
from engine.net.batches import SLOTS
from engine.net.challenge import ROTATED_EVERY_S, ChallengeState
from engine.policy.admission import QUIET_S
from engine.sessions.flow import Port, SocketAddress
from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from tests.engine.sessions.session_world import (
    IKE,
    NAT_T,
    REFUSAL_BYTES,
    SUCCESS_BYTES,
    World,
    at,
    audit,
    auth,
    auth_answer,
    cookie_demand,
    encrypted,
    esp,
    init,
    init_answer,
    seconds,
)

CLIENT = at("198.51.100.7", 500)
BEHIND_NAT = at("198.51.100.7", 40_001)
STRANGER = at("198.51.100.99", 500)
V6_CLIENT = ("2001:db8::7", 500, 0, 0)
SPI = 0x1122_3344_5566_7788


def init_with(cookie: bytes, spi: int = SPI) -> bytes:
    """An IKE_SA_INIT request that brings a cookie."""
    return build_message([notify_payload(NotifyType.COOKIE, cookie), nonce_payload(bytes(32))], spi_i=spi)


def cookie_in(demand: bytes) -> bytes:
    """The cookie that a demand asks for; the demand must be one of IKE, for nothing else."""
    message = parse_message(demand)
    assert message.header.flags == RESPONSE_FLAG
    notify = message.notify(NotifyType.COOKIE)
    assert notify is not None
    return notify.data


class Challenged(World):
    """A service that asks for cookies."""

    def __init__(self, mode: CookieChallenge = CookieChallenge.ALWAYS, **settings: Any) -> None:
        super().__init__(cookie_challenge=mode, **settings)
        self.challenge = self.forwarder.challenge

    def demanded(self, client: SocketAddress, port: Port = IKE, spi: int = SPI) -> bytes:
        """The cookie that a client is asked for, whose first message went nowhere."""
        spoken = self.listeners[port].spoken
        before = len(spoken)
        marker = NON_ESP_MARKER if port is NAT_T else b""
        assert self.client_sends(client, port, marker + init(spi)) is None
        ((told, demand),) = spoken[before:]
        assert told == client
        assert demand.startswith(marker)
        return cookie_in(demand.removeprefix(marker))

    def tick(self, seconds: int = 1) -> None:
        """Let the engine look at the service once a second."""
        for _ in range(seconds):
            self.now_s += 1
            self.challenge.look([self.service], self.now_s)

    def forge(self, messages: int, first: int = 0) -> None:
        """Send first messages, each from another address."""
        for number in range(first, first + messages):
            host = f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            self.client_sends(at(host, 500), IKE, init(SPI + 1 + number))


@pytest.mark.parametrize("port", Port)
@pytest.mark.parametrize("client", [CLIENT, BEHIND_NAT, V6_CLIENT])
def test_whoever_brings_the_cookie_back_reaches_a_server_with_the_message_unchanged(
    client: SocketAddress, port: Port
) -> None:
    """On either port, of either family; and before that nothing is kept."""
    world = Challenged()
    cookie = world.demanded(client, port)
    assert world.sessions() == []
    assert world.table.flow_count == 0
    marker = NON_ESP_MARKER if port is NAT_T else b""
    assert world.client_sends(client, port, marker + init_with(cookie)) == "a"
    assert world.only_session().init_message == init_with(cookie)
    newcomers = world.service.newcomers
    assert (newcomers.challenges_sent, newcomers.cookies_accepted, newcomers.cookies_refused) == (1, 1, 0)
    audit(world)


def test_a_cookie_moves_with_the_port_of_its_client_but_not_to_another_address() -> None:
    """A NAT may give another port to the repeated message; another address gets a cookie of its own."""
    world = Challenged()
    cookie = world.demanded(CLIENT)
    assert world.client_sends(STRANGER, IKE, init_with(cookie)) is None
    assert world.service.newcomers.cookies_refused == 1
    told, demand = world.listeners[IKE].spoken[-1]
    assert told == STRANGER
    assert cookie_in(demand) != cookie
    assert world.client_sends(BEHIND_NAT, IKE, init_with(cookie)) == "a"


def test_whoever_is_known_is_not_asked_again() -> None:
    """A message repeated for want of an answer passes, whatever cookie the real server has asked for."""
    world = Challenged()
    cookie = world.demanded(CLIENT)
    world.client_sends(CLIENT, IKE, init_with(cookie))
    assert world.client_sends(CLIENT, IKE, init_with(cookie)) == "a"
    assert world.server_sends(CLIENT, IKE, cookie_demand(SPI))
    assert world.client_sends(CLIENT, IKE, init_with(b"c" * 20)) == "a"
    assert world.client_sends(CLIENT, IKE, init_with(b"c" * 9)) == "a"
    assert len(world.listeners[IKE].spoken) == 1
    assert world.service.newcomers.cookies_refused == 0


def test_nobody_gets_past_with_the_spi_of_somebody_elses_session() -> None:
    """Or one genuine session would let forged messages through to its real server."""
    world = Challenged()
    world.client_sends(CLIENT, IKE, init_with(world.demanded(CLIENT)))
    world.demanded(STRANGER)
    assert len(world.sessions()) == 1


def test_a_new_session_on_a_known_flow_is_asked_as_well() -> None:
    """Its 5-tuple can be forged; the tunnel that is up goes on."""
    world = Challenged(mode=CookieChallenge.OFF)
    world.connect("198.51.100.7", 1)
    world.service.config = replace(world.service.config, cookie_challenge=CookieChallenge.ALWAYS)
    tunnel = at("198.51.100.7", 4500)
    world.demanded(tunnel, NAT_T)
    assert len(world.sessions()) == 1
    assert world.client_sends(tunnel, NAT_T, esp()) == world.only_session().server.name


def test_a_server_s_own_cookie_for_a_session_that_is_forgotten_begins_anew() -> None:
    """It is not ours and nobody's fault: the client is asked for ours."""
    world = Challenged()
    assert world.client_sends(CLIENT, IKE, init_with(b"c" * 20)) is None
    assert len(world.listeners[IKE].spoken) == 1
    assert world.service.newcomers.cookies_refused == 0


def test_answers_and_nonsense_are_never_answered() -> None:
    """No loop with another balancer or a real server, and nothing for what no client sends."""
    world = Challenged()
    world.client_sends(CLIENT, IKE, init_answer(SPI))
    world.client_sends(CLIENT, IKE, cookie_demand(SPI))
    world.client_sends(CLIENT, IKE, build_message([], spi_i=SPI))
    world.client_sends(CLIENT, IKE, build_message([nonce_payload(bytes(32))], spi_i=SPI, spi_r=1))
    world.client_sends(at("198.51.100.7", 0), IKE, init(SPI))
    assert world.listeners[IKE].spoken == []
    assert world.service.drops == {"stray-response": 2, "implausible-init": 2, "impossible-source": 1}
    assert world.sessions() == []


def test_off_never_asks() -> None:
    """Not in a flood either, which is known of all the same."""
    world = Challenged(mode=CookieChallenge.OFF, cookie_threshold=10)
    world.forge(30)
    assert len(world.sessions()) == 30
    assert world.service.newcomers.flood is not None
    assert world.challenge.state.services == frozenset()


def test_auto_asks_from_the_threshold_on_until_the_flood_is_over() -> None:
    """The flood leaves as many sessions as the threshold, and does not seem over because it leaves no more."""
    world = Challenged(mode=CookieChallenge.AUTO, cookie_threshold=10, timeouts=Timeouts(half_open_s=seconds(5)))
    world.forge(10)
    assert world.listeners[IKE].spoken == []
    world.forge(90, first=10)
    assert len(world.sessions()) == 11
    assert world.service.newcomers.challenges_sent == 89
    for second in range(200):
        world.tick()
        world.forge(20, first=100 + 20 * second)
        world.table.expire(world.now_s, 1000)
    assert world.sessions() == []
    assert world.service.newcomers.challenging(world.service.config)
    cookie = world.demanded(CLIENT)
    assert world.client_sends(CLIENT, IKE, init_with(cookie)) is not None
    world.tick(round(QUIET_S + 15))
    assert world.client_sends(STRANGER, IKE, init(SPI + 1)) is not None


def test_a_site_that_comes_back_at_once_is_neither_refused_nor_taken_for_a_flood() -> None:
    """Five hundred clients behind one address, with what is configured by default."""
    world = World()
    for number in range(500):
        assert world.client_sends(at("198.51.100.7", 10_000 + number), IKE, init(SPI + number)) is not None
    assert world.service.newcomers.flood is None
    assert world.service.drops == {}


def test_five_hundred_of_one_address_get_in_through_the_challenge() -> None:
    """And each of them counts as answered: that is no flood."""
    world = Challenged(cookie_threshold=600)
    for number in range(500):
        client = at("198.51.100.7", 10_000 + number)
        cookie = world.demanded(client, spi=SPI + number)
        assert world.client_sends(client, IKE, init_with(cookie, SPI + number)) is not None
    world.tick()
    assert world.service.newcomers.flood is None


def test_limits_drop_what_is_beyond_and_say_so() -> None:
    """First one address, in IPv6 its whole site; then the service."""
    world = Challenged(mode=CookieChallenge.OFF, half_open_per_source=2, half_open_limit=4)
    site = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    for spi, host in enumerate(site, start=1):
        world.client_sends((host, 500, 0, 0) if ":" in host else at(host, 500), IKE, init(spi))
    assert world.service.drops == {"half-open-source-limit": 1, "half-open-limit": 1}
    assert sorted(session.host for session in world.sessions()) == [
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::1",
        "2001:db8::2",
    ]


def test_a_limit_takes_new_ones_again_once_sessions_got_on() -> None:
    """Established or given up: either makes room."""
    world = Challenged(mode=CookieChallenge.OFF, half_open_limit=1)
    world.connect("198.51.100.7", 1)
    assert world.client_sends(STRANGER, IKE, init(2)) is not None
    assert world.client_sends(at("192.0.2.1", 500), IKE, init(3)) is None
    world.later(31)
    assert world.client_sends(at("192.0.2.1", 500), IKE, init(3)) is not None


def test_whom_a_server_tells_secrets_is_no_newcomer_any_more() -> None:
    """Thousands come back in a second, and the kernel carries their data before the engine has seen any of it."""
    world = Challenged(mode=CookieChallenge.AUTO, cookie_threshold=3, half_open_per_source=2)
    for spi in range(1, 6):
        first, then = at("198.51.100.7", 500 + spi), at("198.51.100.7", 4500 + spi)
        assert world.client_sends(first, IKE, init(spi)) is not None
        world.server_sends(first, IKE, init_answer(spi))
        world.client_sends(then, NAT_T, auth(spi))
        world.server_sends(then, NAT_T, auth_answer(spi))
    assert all(session.half_open for session in world.sessions())
    assert world.service.newcomers.half_open == 0
    assert world.service.newcomers.flood is None


@pytest.mark.parametrize("answers", [[REFUSAL_BYTES], [SUCCESS_BYTES, REFUSAL_BYTES]])
def test_whom_a_server_refuses_stays_a_newcomer(answers: list[int]) -> None:
    """Anybody with an address of his own can have it refuse him, and encrypted, also after the first round of EAP."""
    world = Challenged(mode=CookieChallenge.OFF, half_open_per_source=2)
    for spi in (1, 2):
        first, then = at("198.51.100.7", 500 + spi), at("198.51.100.7", 4500 + spi)
        assert world.client_sends(first, IKE, init(spi)) is not None
        world.server_sends(first, IKE, init_answer(spi))
        for number, size_bytes in enumerate(answers, start=1):
            asked = encrypted(spi, Exchange.IKE_AUTH, size_bytes=300, message_id=number)
            world.client_sends(then, NAT_T, asked)
            answer = encrypted(
                spi, Exchange.IKE_AUTH, from_server=True, response=True, size_bytes=size_bytes, message_id=number
            )
            world.server_sends(then, NAT_T, answer)
    assert world.service.newcomers.of_source("198.51.100.7") == 2
    assert world.client_sends(at("198.51.100.7", 503), IKE, init(3)) is None
    audit(world)
    world.later(31)
    assert world.service.newcomers.half_open == 0
    assert world.client_sends(at("198.51.100.7", 503), IKE, init(3)) is not None


def test_keys_rotate_while_anybody_is_asked_and_cookies_outlive_one_rotation() -> None:
    """Of which whoever challenges in the kernel is told, with everything that it must know."""
    world = Challenged()
    told: list[ChallengeState] = []
    world.challenge.observe = told.append
    cookie = world.demanded(CLIENT)
    world.tick(round(ROTATED_EVERY_S))
    assert {state.services for state in told} == {frozenset({"vpn"})}
    assert world.client_sends(CLIENT, IKE, init_with(cookie)) is not None
    old = world.demanded(STRANGER)
    world.tick(2 * round(ROTATED_EVERY_S))
    assert world.client_sends(STRANGER, IKE, init_with(old)) is None
    last = told[-1]
    assert last == world.challenge.state
    assert last.keys.number == told[0].keys.number + 3
    assert len({last.keys.current, last.keys.previous}) == 2


def test_keys_stand_still_while_nobody_is_asked() -> None:
    """There is nothing that they could be needed for."""
    world = Challenged(mode=CookieChallenge.AUTO)
    before = world.challenge.state
    world.tick(200)
    assert world.challenge.state == before


def test_what_the_kernel_wards_off_counts_as_the_flood_that_it_is() -> None:
    """The slow path sees nothing of it."""
    world = Challenged(mode=CookieChallenge.AUTO, cookie_threshold=100)
    world.forge(101)
    for _ in range(300):
        world.service.newcomers.challenges_sent += 50_000
        world.tick()
        world.table.expire(world.now_s, 1000)
    assert world.sessions() == []
    assert world.service.newcomers.flood is not None
    assert world.service.newcomers.unanswered_per_s == pytest.approx(50_000)


def test_tunnels_that_come_back_after_a_restart_are_no_flood() -> None:
    """Nothing is known of them, but none of them begins an IKE SA."""
    world = Challenged(mode=CookieChallenge.AUTO, cookie_threshold=10)
    for number in range(50):
        world.client_sends(at(f"192.0.2.{number}", 4500), NAT_T, esp(1000 + number))
    assert len(world.sessions()) > 10
    world.tick()
    assert world.service.newcomers.flood is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_challenges_leave_through_the_port_they_came_by(host: str) -> None:
    """Over real sockets, more of them at once than fit into one batch."""
    with gateway(host, cookie_challenge=CookieChallenge.ALWAYS) as gate:
        client = gate.client()
        for spi in range(1, SLOTS + 10):
            client.sockets[IKE].send(init(spi), gate.address[IKE])
        gate.settle()
        client.send(NAT_T, NON_ESP_MARKER + init(1000))
        demands = client.received(IKE)
        assert [parse_message(demand).header.spi_i for demand in demands] == list(range(1, SLOTS + 10))
        (marked,) = client.received(NAT_T)
        client.send(IKE, init_with(cookie_in(demands[4]), 5))
        client.send(NAT_T, NON_ESP_MARKER + init_with(cookie_in(marked[4:]), 1000))
        assert [d for server in gate.servers for d, _ in server.ike.received()] == [init_with(cookie_in(demands[4]), 5)]
        assert [d for server in gate.servers for d, _ in server.nat_t.received()] == [
            NON_ESP_MARKER + init_with(cookie_in(marked[4:]), 1000)
        ]
