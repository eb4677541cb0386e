"""The fast path at work in a network of its own: it follows routes, counts every second, and leaves nothing behind."""

from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import pairwise
from random import Random
from typing import TypeVar

import pytest
import trio
from bpf_objects import ip, private_network, require_bpf
from fastpath_newcomers import KEYS, SPI, first_message, mapped
from netaddr import IPAddress
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.config.schema import Config, EngineSection, RealServer, Service
from engine.fastpath.interfaces import list_interfaces
from engine.fastpath.kernel import FOLLOW_EVERY_S, KernelForwarding
from engine.fastpath.layout import ShieldFlag
from engine.fastpath.netlink import NetlinkError
from engine.fastpath.pins import Pins, digest_of
from engine.fastpath.program import OBJECT
from engine.fastpath.reconciler import Reconciler
from engine.fastpath.shields import Shields
from engine.fastpath.totals import Totals
from engine.policy.schedulers import make_scheduler
from engine.sessions.real_server import RealServer as RunningServer
from engine.sessions.service import Service as RunningService
from engine.wire.cookie import CookieKeys, cookie_demand

T = TypeVar("T")

PATIENCE_S = 5.0
ANY_PROTOCOL = 0x0003
FRAMES_IN_A_VETH = 256
CONFIG = Config(
    engine=EngineSection(max_sessions=64),
    services=[
        Service(
            name="vpn",
            address=IPAddress("198.51.100.1"),
            real_servers=[RealServer(name="a", address=IPAddress("10.0.0.11"))],
        )
    ],
)


@pytest.fixture
def _network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A wan device with the service's address, and two others: lan leads to the real server, dmz could."""
    require_bpf()
    # A thread of trio's may be in another network than this one.
    monkeypatch.setattr(trio.to_thread, "run_sync", _here)
    with private_network():
        for name, address in (("wan", "198.51.100.1"), ("lan", "10.0.0.1"), ("dmz", "10.9.0.1")):
            ip(f"link add {name} type veth peer far-{name}")
            for device in (name, f"far-{name}"):
                ip(f"link set {device} addrgenmode none")
                ip(f"link set {device} up")
            ip(f"address add {address}/24 dev {name}")
        yield


def _take_redirected_frames(*devices: str) -> None:
    for device in devices:
        subprocess.run(["ethtool", "-K", device, "gro", "on"], check=True)


async def _here(do: Callable[..., T], *arguments: object) -> T:
    await trio.lowlevel.checkpoint()
    return do(*arguments)


@asynccontextmanager
async def forwarding(
    services: Callable[[], dict[RunningService, CookieKeys | None]] = dict, pins: Pins | None = None
) -> AsyncIterator[KernelForwarding]:
    """Forward in the kernel; there it stays with `pins`."""
    with KernelForwarding(CONFIG, services, pins) as kernel:
        async with trio.open_nursery() as nursery:
            await nursery.start(kernel.run)
            yield kernel
            nursery.cancel_scope.cancel()
        if not kernel.leave():
            await kernel.give_back()


def running_service() -> RunningService:
    scheduler = make_scheduler(CONFIG.services[0].scheduler, key=bytes(16), random=Random(1))
    return RunningService(CONFIG.services[0], {}, scheduler, (), 10)


@contextmanager
def far_end() -> Iterator[socket.socket]:
    """The other end of the wan device: sends frames, and receives them."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ANY_PROTOCOL)) as far:
        far.bind(("far-wan", ANY_PROTOCOL))
        far.settimeout(PATIENCE_S)
        yield far


def frame_to_service(payload: bytes) -> bytes:
    """A client's datagram to the service's IKE port, as it comes in by the wan device."""
    wan = next(one for one in list_interfaces().values() if one.name == "wan")
    link = Ether(dst=wan.mac, src="02:00:00:00:00:77")
    return bytes(link / IP(src="198.51.100.7", dst="198.51.100.1") / UDP(sport=500, dport=500) / Raw(payload))


def shields(pins: Pins) -> list[bytes]:
    """The ends of services that the program in the kernel protects."""
    left = pins.find(digest_of(OBJECT))
    assert left is not None
    with closing(left):
        return left.map("shields").list_keys()


def attached() -> set[str]:
    """The devices that have an XDP program, as the kernel tells it."""
    return {one.name for one in list_interfaces().values() if one.xdp_program_id is not None}


async def until_attached(names: set[str]) -> None:
    """Wait until just these devices have the program."""
    await until(lambda: attached() == names)


async def until(happens: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    with trio.fail_after(PATIENCE_S):
        while not happens():  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.02)


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_a_real_server_that_is_reached_by_another_device_takes_the_program_there() -> None:
    """Only a route changes, and nothing of any device; and it changes back at once, too."""
    async with forwarding():
        assert attached() == {"wan", "lan"}
        ip("route add 10.0.0.11/32 via 10.9.0.2")
        await until_attached({"wan", "dmz"})
        ip("route del 10.0.0.11/32")
        await until_attached({"wan", "lan"})
    assert attached() == set()


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_a_kernel_that_cannot_be_asked_for_a_while_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of files, say: tunnels go on as they are, and changes are followed once they can be."""

    def refuse(*_: object) -> object:
        raise NetlinkError(errno.EMFILE)

    monkeypatch.setattr("engine.fastpath.kernel.VERIFY_EVERY_S", 0.1)
    async with forwarding() as kernel:
        with monkeypatch.context() as patch:
            patch.setattr("engine.fastpath.kernel.list_interfaces", refuse)
            patch.setattr("engine.fastpath.netlink_watch.keep_in_use", refuse)
            ip("route add 10.0.0.11/32 via 10.9.0.2")
            await until(lambda: "not followed" in kernel.reason)
            await trio.sleep(0.3)
            await kernel.follow(CONFIG)
            assert attached() == {"wan", "lan"}
            assert "Too many open files" in kernel.reason
        await until_attached({"wan", "dmz"})
        await until(lambda: "not followed" not in kernel.reason)


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_routes_that_flap_do_not_have_devices_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All devices are asked for at most a few times a second."""
    looked = 0

    def counted() -> Iterable[object]:
        nonlocal looked
        looked += 1
        return list_interfaces()

    async with forwarding():
        monkeypatch.setattr("engine.fastpath.kernel.list_interfaces", counted)
        started_s = trio.current_time()
        for _ in range(6):
            for change in ("add", "del"):
                ip(f"route {change} 192.0.2.0/24 dev dmz")
                await trio.sleep(0.05)
        await trio.sleep(FOLLOW_EVERY_S)
        took_s = trio.current_time() - started_s
    assert 2 <= looked <= took_s / FOLLOW_EVERY_S + 1


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_real_servers_are_counted_every_second_however_long_reading_the_flows_takes(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Rates come from these counts: one that is late makes a gap and then a peak."""
    at: list[float] = []

    def very_many(self: Reconciler, now_s: float) -> Iterator[int]:
        yield 1_000_000

    def collect(self: Totals, in_service: Iterable[RunningServer]) -> int:
        at.append(trio.current_time())
        return 0

    monkeypatch.setattr(Reconciler, "credit_all", very_many)
    monkeypatch.setattr(Totals, "collect", collect)
    async with forwarding():
        await trio.sleep(10.5)
    assert len(at) >= 10
    assert all(later - earlier < 1.1 for earlier, later in pairwise(at))


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_a_service_is_protected_and_learns_of_it() -> None:
    """Garbage that comes in by a device is counted with it; once it challenges, a newcomer is answered there."""
    vpn = running_service()
    demanded: dict[RunningService, CookieKeys | None] = {vpn: None}
    with far_end() as far:
        async with forwarding(lambda: demanded) as kernel:
            await wait_all_tasks_blocked()
            far.send(frame_to_service(bytes(8)))
            await until(lambda: vpn.drops["runt"] == 1)
            demanded[vpn] = KEYS
            kernel.challenge_changed()
            await wait_all_tasks_blocked()
            far.send(frame_to_service(first_message()))
            await until(lambda: vpn.newcomers.challenges_sent == 1)
        answer = Ether(far.recv(2048))
    assert (answer.dst, answer[IP].dst) == ("02:00:00:00:00:77", "198.51.100.7")
    assert bytes(answer[UDP].payload) == cookie_demand(SPI, KEYS.cookie(mapped("198.51.100.7"), SPI))


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_newcomers_who_are_answered_in_the_kernel_leave_the_link_open() -> None:
    """More of them than a veth device holds frames; its other end has no program of its own."""
    _take_redirected_frames("far-wan", "far-lan")
    vpn = running_service()
    request = frame_to_service(first_message())
    with far_end() as far:
        async with forwarding(lambda: {vpn: KEYS}) as kernel:
            await wait_all_tasks_blocked()
            assert kernel.mode == "native"
            answers = []
            for _ in range(FRAMES_IN_A_VETH + 44):
                far.send(request)
                answers.append(far.recv(2048))
    assert {Ether(answer)[IP].src for answer in answers} == {"198.51.100.1"}


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_what_stays_without_an_engine_asks_nobody_for_cookies(pins: Pins) -> None:
    """No engine would look at them, and the next one gives out others."""
    vpn = running_service()
    async with forwarding(lambda: {vpn: KEYS}, pins):
        await wait_all_tasks_blocked()
        assert shields(pins)
    assert attached() == {"wan", "lan"}
    assert not shields(pins)


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_unknown_packets_are_limited_while_the_kernel_has_all_tunnels(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """And has had them for a while: after a start, and whenever the slow path has some, nothing is limited."""
    told: list[tuple[float, bool]] = []
    complete = True

    def follow(self: Shields, services: object, flags: ShieldFlag) -> None:
        told.append((round(trio.current_time() - started_s), ShieldFlag.LIMITS in flags))

    monkeypatch.setattr(Shields, "follow", follow)
    monkeypatch.setattr(Reconciler, "complete", property(lambda self: complete))
    started_s = trio.current_time()
    async with forwarding():
        await trio.sleep(20.5)
        complete = False
        await trio.sleep(1)
        complete = True
        await trio.sleep(20)
    limited = [at_s for at_s, limits in told if limits]
    assert limited == [*range(10, 21), *range(31, 42)]


@pytest.mark.usefixtures("_network")
@pytest.mark.trio
async def test_starting_and_stopping_leaves_nothing_behind() -> None:
    """No open file, no memory mapped, no program on a device."""

    def left() -> tuple[int, int]:
        gc.collect()
        with open("/proc/self/maps", encoding="ascii") as maps:
            mapped = sum("bpf-map" in line for line in maps)
        return len(os.listdir("/proc/self/fd")), mapped

    async with forwarding():
        pass
    before = left()
    for _ in range(3):
        async with forwarding():
            assert attached() == {"wan", "lan"}
    assert (left(), attached()) == (before, set())
