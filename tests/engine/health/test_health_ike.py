"""The IKE probe against a responder on loopback."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from engine.config.schema import Duration, Health, IkeProbe
from engine.health.ike import IkeProber
from engine.health.result import ProbeTarget
from engine.wire.build import build_message, notify_payload
from engine.wire.header import RESPONSE_FLAG
from engine.wire.notifies import NotifyType

HEALTH = Health(timeout_s=Duration(2))
MARKER = bytes(4)
Responder = Callable[[bytes], list[bytes]]


def is_version_probe(request: bytes) -> bool:
    return request[17] == 0x30


def answer_with(notify: NotifyType, request: bytes, data: bytes = b"") -> bytes:
    spi = int.from_bytes(request[:8])
    return build_message([notify_payload(notify, data)], spi_i=spi, flags=RESPONSE_FLAG)


def like_strongswan(request: bytes) -> list[bytes]:
    if is_version_probe(request):
        return [answer_with(NotifyType.INVALID_MAJOR_VERSION, request)]
    return [answer_with(NotifyType.NO_PROPOSAL_CHOSEN, request)]


def deaf_to_versions(request: bytes) -> list[bytes]:
    return [] if is_version_probe(request) else like_strongswan(request)


def silent(request: bytes) -> list[bytes]:
    return []


class Server:
    """An IKE responder whose manners a test can change; `seen` holds what it was asked."""

    def __init__(self, sock: trio.socket.SocketType, respond: Responder) -> None:
        self.sock = sock
        self.respond = respond
        self.seen: list[bytes] = []
        self.peers: list[str] = []
        host, port = sock.getsockname()[:2]
        self.target = ProbeTarget("rs1", host, port, None)

    def kinds(self) -> list[str]:
        return ["version" if is_version_probe(request) else "init" for request in self.seen]

    async def serve(self) -> None:
        while True:
            request, peer = await self.sock.recvfrom(2048)
            self.seen.append(request)
            self.peers.append(peer[0])
            for answer in self.respond(request):
                await self.sock.sendto(answer, peer)


@asynccontextmanager
async def server(respond: Responder, address: str = "127.0.0.1") -> AsyncIterator[Server]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.bind((address, 0))
        peer = Server(sock, respond)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve)
            yield peer
            nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("kind", [IkeProbe.VERSION, IkeProbe.INIT])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_answer_means_up(kind: IkeProbe, address: str) -> None:
    """Either question, answered by the error it asks for, is a living server with a measured response time."""
    async with server(like_strongswan, address) as peer:
        result = await IkeProber().probe(peer.target, Health(ike_probe=kind, timeout_s=Duration(10)))
    assert result.ok
    assert not result.busy
    assert result.rtt_s is not None
    assert 0 < result.rtt_s < 10
    assert peer.kinds() == [kind.value]


@pytest.mark.trio
async def test_cookie_means_busy() -> None:
    """A server that demands cookies is alive, and its operator is told."""
    async with server(lambda request: [answer_with(NotifyType.COOKIE, request, b"c" * 20)]) as peer:
        result = await IkeProber().probe(peer.target, Health(ike_probe=IkeProbe.INIT))
    assert (result.ok, result.busy) == (True, True)
    assert result.reason == "answers IKE, demands cookies"


@pytest.mark.trio
async def test_ikev1_only_means_down() -> None:
    """A daemon that speaks only the old protocol cannot serve these clients."""

    def in_version_1(request: bytes) -> list[bytes]:
        return [build_message(spi_i=int.from_bytes(request[:8]), flags=RESPONSE_FLAG, version=0x10)]

    async with server(in_version_1) as peer:
        result = await IkeProber().probe(peer.target, HEALTH)
    assert (result.ok, result.reason) == (False, "no IKEv2: IKEv1 only")


@pytest.mark.trio
async def test_silence_is_a_failure_after_the_timeout(patient_clock: trio.testing.MockClock) -> None:
    """A bound but silent port, a hung daemon, fails when the timeout is over, not sooner or later."""
    async with server(silent) as peer:
        started_s = trio.current_time()
        result = await IkeProber().probe(peer.target, HEALTH)
        assert trio.current_time() - started_s == pytest.approx(2.0)
    assert not result.ok
    assert result.reason == "no answer in 2s"
    assert peer.kinds() == ["version", "init"]


@pytest.mark.trio
async def test_closed_port_is_reported_at_once(patient_clock: trio.testing.MockClock) -> None:
    """A stopped daemon is told from a silent one by the ICMP error, without waiting for the timeout."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started_s = trio.current_time()
    result = await IkeProber().probe(ProbeTarget("rs1", "127.0.0.1", port, None), HEALTH)
    assert trio.current_time() == started_s
    assert not result.ok
    assert result.reason == f"connection refused: nothing listens on UDP {port}"


@pytest.mark.trio
async def test_auto_learns_the_question_that_works(patient_clock: trio.testing.MockClock) -> None:
    """Auto tries the other question after half the timeout, asks only that one next, and both after a failure."""
    prober = IkeProber()
    async with server(deaf_to_versions) as peer:
        started_s = trio.current_time()
        assert (await prober.probe(peer.target, HEALTH)).ok
        assert trio.current_time() - started_s == pytest.approx(1.0)
        assert (await prober.probe(peer.target, HEALTH)).ok
        assert peer.kinds() == ["version", "init", "init"]
        peer.respond = silent
        assert not (await prober.probe(peer.target, HEALTH)).ok
        peer.respond = like_strongswan
        assert (await prober.probe(peer.target, HEALTH)).ok
        assert peer.kinds() == ["version", "init", "init", "init", "version"]


@pytest.mark.trio
async def test_late_answer_to_the_first_question_counts(patient_clock: trio.testing.MockClock) -> None:
    """A server slower than half the timeout is up, although the second question was out already."""
    held: list[bytes] = []

    def slow_version(request: bytes) -> list[bytes]:
        held.append(request)
        return like_strongswan(held[0]) if len(held) == 2 else []

    async with server(slow_version) as peer:
        result = await IkeProber().probe(peer.target, HEALTH)
    assert result.ok
    assert result.rtt_s == pytest.approx(1.0)


@pytest.mark.trio
async def test_other_datagrams_are_ignored() -> None:
    """Noise, the question echoed, and an answer with a guessed SPI do not count; the true answer after them does."""

    def noisy(request: bytes) -> list[bytes]:
        guessed = bytes(b ^ 0x55 for b in request[:8]) + request[8:]
        return [b"", b"x", b"\xff" * 200, request, *like_strongswan(guessed), *like_strongswan(request)]

    async with server(noisy) as peer:
        assert (await IkeProber().probe(peer.target, HEALTH)).ok


@pytest.mark.trio
async def test_forged_answers_do_not_keep_a_dead_server_up(patient_clock: trio.testing.MockClock) -> None:
    """An answer that does not carry the probe's random SPI never makes a server look alive."""
    async with server(lambda request: like_strongswan(bytes(7) + b"\x01" + request[8:])) as peer:
        assert not (await IkeProber().probe(peer.target, HEALTH)).ok


@pytest.mark.trio
async def test_every_probe_has_its_own_spi() -> None:
    """An answer overheard once is of no use to a forger later."""
    prober = IkeProber()
    async with server(like_strongswan) as peer:
        for _ in range(5):
            await prober.probe(peer.target, HEALTH)
    assert len({request[:8] for request in peer.seen}) == 5


@pytest.mark.trio
async def test_nat_t_port_is_asked_behind_the_marker() -> None:
    """On a NAT-T port both question and answer carry the non-ESP marker, or the server would take it for ESP."""

    def behind_marker(request: bytes) -> list[bytes]:
        assert request.startswith(MARKER)
        return [MARKER + answer for answer in like_strongswan(request[4:])]

    async with server(behind_marker) as peer:
        target = ProbeTarget("rs1", peer.target.address, peer.target.port, None, nat_t=True)
        assert (await IkeProber().probe(target, HEALTH)).ok


@pytest.mark.trio
async def test_source_address_is_used() -> None:
    """A probe leaves from the address it was told, so that it tests the path that clients take."""
    async with server(like_strongswan) as peer:
        target = ProbeTarget("rs1", peer.target.address, peer.target.port, "127.0.0.77")
        assert (await IkeProber().probe(target, HEALTH)).ok
    assert peer.peers == ["127.0.0.77"]


@pytest.mark.trio
async def test_foreign_source_address_is_explained() -> None:
    """A source address that this machine lacks is named in the reason."""
    result = await IkeProber().probe(ProbeTarget("rs1", "127.0.0.1", 500, "192.0.2.1"), HEALTH)
    assert not result.ok
    assert result.reason == "cannot probe from 192.0.2.1: it is not an address of this machine"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("number", "reason", "inconclusive"),
    [
        (errno.ENETUNREACH, "no route to 10.0.0.11", False),
        (errno.EHOSTUNREACH, "no route to 10.0.0.11, or a firewall on the way rejects the probe", False),
        (errno.EMFILE, "cannot reach UDP 500: Too many open files", True),
    ],
)
async def test_errors_are_told_in_words(
    number: int, reason: str, inconclusive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing routes speak against the server, missing file descriptors only against the balancer."""

    def fail(*args: object) -> None:
        raise OSError(number, "")

    monkeypatch.setattr(trio.socket, "socket", fail)
    result = await IkeProber().probe(ProbeTarget("rs1", "10.0.0.11", 500, None), HEALTH)
    assert (result.ok, result.reason, result.inconclusive) == (False, reason, inconclusive)
