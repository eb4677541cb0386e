"""What a real server that was taken over can do to the clients of the others: nothing but overhear what it is told."""

from __future__ import annotations

from random import Random

import pytest

from engine.config.schema import PersistenceKind
from engine.wire.encapsulation import read_header
from engine.wire.header import Exchange, IkeHeader
from engine.wire.payloads import PayloadType
from tests.engine.sessions.session_world import (
    NAT_T,
    World,
    answer_spi,
    at,
    audit,
    auth,
    auth_answer,
    create_child,
    encrypted,
    esp,
    informational,
    init_answer,
)

GOOD, EVIL = "a", "b"
VICTIM, ACCOMPLICE = "198.51.100.7", "198.51.100.66"
VICTIM_SPI, ACCOMPLICE_SPI = 0x1111, 0x6666
VICTIM_ESP, VICTIM_ESP_OUT = 0xC0FF_EE01, 0xC0FF_EE02


class TakenOver(World):
    """A victim on one server, and a client in league with the other server, which knows all the victim's SPIs."""

    def __init__(self, kind: PersistenceKind = PersistenceKind.SOURCE_ADDRESS) -> None:
        super().__init__(servers="ab", persistence=kind)
        self.victim = self.connect(VICTIM, VICTIM_SPI)
        self.accomplice = self.connect(ACCOMPLICE, ACCOMPLICE_SPI)
        assert (self.victim.server.name, self.accomplice.server.name) == (GOOD, EVIL)
        self.client_sends(at(VICTIM, 4500), NAT_T, esp(VICTIM_ESP))
        self.server_sends(at(VICTIM, 4500), NAT_T, esp(VICTIM_ESP_OUT))
        self.client_sends(at(ACCOMPLICE, 4500), NAT_T, esp(0x6666_0001))
        self.server_sends(at(ACCOMPLICE, 4500), NAT_T, esp(0x6666_0002))

    def state(self) -> tuple[object, ...]:
        """What must not change of the victim."""
        victim, flow = self.victim, self.flow(at(VICTIM, 4500), NAT_T)
        assert flow is not None
        owners = [self.service.named_by(header_of(VICTIM_SPI), VICTIM), self.service.by_spi[VICTIM_SPI]]
        return (
            victim.server.name,
            victim.phase,
            victim.place,
            list(victim.spis),
            victim.esp_in,
            victim.esp_out,
            [owner is victim for owner in owners],
            flow.server.name,
            flow.proven,
            flow.sessions == (victim,),
            victim.number in self.table.sessions,
        )


def header_of(spi: int) -> IkeHeader:
    """The IKE header of a message of an IKE SA that is set up."""
    header = read_header(encrypted(spi, Exchange.INFORMATIONAL), True)
    assert header is not None
    return header


def hostile(draw: Random) -> bytes:
    """What the evil server may answer its accomplice, with the victim's SPIs in it."""
    spi = draw.choice((VICTIM_SPI, ACCOMPLICE_SPI, draw.randrange(1, 1 << 64)))
    spi_r = draw.choice((None, 0, answer_spi(VICTIM_SPI), draw.randrange(1 << 64)))
    exchange = draw.choice((*Exchange, 0, 255))
    return draw.choice(
        (
            bytes(4) + init_answer(spi),
            auth_answer(spi),
            create_child(spi),
            informational(spi, from_server=True, response=draw.random() < 0.5),
            encrypted(
                spi,
                exchange,
                from_server=True,
                response=draw.random() < 0.5,
                message_id=draw.randrange(4),
                payload=draw.choice((PayloadType.SK, PayloadType.SKF, PayloadType.N)),
                responder_spi=spi_r,
            ),
            esp(draw.choice((VICTIM_ESP, VICTIM_ESP_OUT, draw.randrange(256, 1 << 32)))),
            b"\xff",
            draw.randbytes(draw.randrange(1, 200)),
        )
    )


@pytest.mark.parametrize("kind", list(PersistenceKind))
@pytest.mark.parametrize(("seed", "clients_part"), [(0, 0.0), (1, 0.0), (2, 0.5), (3, 0.5)])
def test_answers_of_an_evil_server_change_nothing_of_anothers_client(
    seed: int, clients_part: float, kind: PersistenceKind
) -> None:
    """Alone, and with a client that helps it."""
    world, draw = TakenOver(kind), Random(seed)
    before = world.state()
    for _ in range(1_000):
        flow = world.flow(at(ACCOMPLICE, 4500), NAT_T)
        if flow is not None and flow.server.name == EVIL:
            world.server_sends(at(ACCOMPLICE, 4500), NAT_T, hostile(draw))
        elif flow is None:
            world.client_sends(at(ACCOMPLICE, 4500), NAT_T, auth(ACCOMPLICE_SPI))
        if draw.random() < clients_part:
            world.client_sends(at(ACCOMPLICE, 4500), NAT_T, hostile(draw))
        world.now_s += 0.01
    assert world.state() == before
    assert world.client_sends(at(VICTIM, 4500), NAT_T, informational(VICTIM_SPI)) == GOOD
    assert world.client_sends(at(VICTIM, 4500), NAT_T, esp(VICTIM_ESP)) == GOOD
    audit(world)


def test_a_client_in_league_with_an_evil_server_does_not_take_over_who_overheard_it() -> None:
    """The accomplice sends under the victim's SPIs, and its server answers as if they were its own."""
    world = TakenOver()
    before = world.state()
    client = at(ACCOMPLICE, 4500)
    for datagram, answer in [
        (informational(VICTIM_SPI), informational(VICTIM_SPI, from_server=True, response=True)),
        (create_child(VICTIM_SPI), create_child(VICTIM_SPI)),
        (esp(VICTIM_ESP), esp(VICTIM_ESP_OUT)),
    ]:
        world.client_sends(client, NAT_T, datagram)
        if world.flow(client, NAT_T) is not None:
            world.server_sends(client, NAT_T, answer)
    assert world.state() == before
    moved = at("203.0.113.77", 4500)
    assert world.client_sends(moved, NAT_T, informational(VICTIM_SPI)) == GOOD


def test_what_an_evil_server_says_fills_no_table() -> None:
    world, draw = TakenOver(), Random(7)
    sessions, claims = len(world.sessions()), len(world.service.by_spi) + len(world.service.by_esp)
    for _ in range(5_000):
        world.server_sends(at(ACCOMPLICE, 4500), NAT_T, esp(draw.randrange(256, 1 << 32)))
        world.server_sends(
            at(ACCOMPLICE, 4500), NAT_T, encrypted(draw.randrange(1, 1 << 64), Exchange.INFORMATIONAL, from_server=True)
        )
    assert len(world.sessions()) == sessions
    assert len(world.service.by_spi) + len(world.service.by_esp) <= claims + 16
    audit(world)
