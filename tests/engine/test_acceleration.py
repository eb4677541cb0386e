"""The fast path as the engine deals with it: switched, failing, tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
import trio
from netaddr import IPAddress
from running_engine import service, world
from trio.testing import MockClock
from vpn_peers import address

from engine.acceleration import TRIED_AGAIN_S, Acceleration
from engine.config.schema import Config, EngineSection, FastPath, Service, Source
from engine.events import EventLog
from engine.fastpath import answers, kernel
from engine.fastpath.errors import BpfError, FastPathError
from engine.policy.schedulers import make_scheduler
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.service import Service as RunningService

if TYPE_CHECKING:
    from engine.net.snat_guises import SnatGuises

T = TypeVar("T")

OUTSIDE = Config(services=[Service(name="vpn", address=IPAddress("203.0.113.10"))])
ON_LOOPBACK = Config(services=[Service(name="vpn", address=IPAddress("127.0.0.1"))])
SWITCHED_OFF = Config(engine=EngineSection(fast_path=FastPath.OFF), services=OUTSIDE.services)


class KernelDouble:
    """Takes the place of what forwards in the kernel."""

    made: list[KernelDouble]
    failure: FastPathError | None

    def __init__(self, config: Config, servers: object, pins: object, carried: object) -> None:
        self.is_open = False
        self.replaces = False
        self.why_unpinned = ""
        self.attachments = ()
        self.flow_count = self.forwarded = 0
        self.passed_up: dict[Any, int] = {}
        self.kept_off: dict[Any, int] = {}
        self.refused = {"no-room": 2, "ambiguous": 0}
        self.mode, self.reason = "native", ""
        self.made.append(self)

    def __enter__(self) -> KernelDouble:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def suits(self, config: Config) -> bool:
        return True

    async def follow(self, config: Config) -> None:
        pass

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started()
            if self.failure is not None:
                raise self.failure
            nursery.start_soon(trio.sleep_forever)

    def offer_held(self) -> None:
        pass

    def leave(self) -> bool:
        return False

    async def give_back(self) -> None:
        pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[KernelDouble]:
    """Each time that the fast path was started, the latest last."""
    KernelDouble.made, KernelDouble.failure = [], None
    monkeypatch.setattr(kernel, "KernelForwarding", KernelDouble)
    monkeypatch.setattr(trio.to_thread, "run_sync", _at_once)
    return KernelDouble.made


async def _at_once(do: Callable[..., T], *arguments: object) -> T:
    """Do what else a thread does, for which the clock does not wait."""
    await trio.lowlevel.checkpoint()
    return do(*arguments)


async def following(config: Config, check: Callable[[Acceleration], Awaitable[None]]) -> None:
    """Run it with a configuration in force while `check` does."""
    acceleration = Acceleration(EventLog())
    acceleration.follow(config, {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceleration.run)
        await trio.sleep(0.1)
        await check(acceleration)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_failure_is_told_in_its_own_words_and_tried_again(
    made: list[KernelDouble], autojump_clock: MockClock
) -> None:
    """However deep in the fast path it happens; what made it fail may have been a moment's."""
    KernelDouble.failure = FastPathError("no memory: add some")

    async def check(acceleration: Acceleration) -> None:
        assert (acceleration.mode, acceleration.reason) == ("off", "no memory: add some")
        await trio.sleep(TRIED_AGAIN_S - 1)
        assert len(made) == 1
        KernelDouble.failure = None
        await trio.sleep(2)
        assert (acceleration.mode, acceleration.reason, len(made)) == ("native", "", 2)

    await following(OUTSIDE, check)


@pytest.mark.trio
@pytest.mark.parametrize("unwanted", [SWITCHED_OFF, ON_LOOPBACK, Config()], ids=["off", "loopback", "no service"])
async def test_it_ends_when_it_is_wanted_no_more_and_begins_again(
    made: list[KernelDouble], autojump_clock: MockClock, unwanted: Config
) -> None:
    """The program is taken out of the kernel, and the reason given; the next configuration has it back."""

    async def check(acceleration: Acceleration) -> None:
        assert acceleration.mode == "native"
        acceleration.follow(unwanted, {})
        await trio.sleep(0.1)
        assert acceleration.mode == "off"
        assert acceleration.reason
        assert [one.is_open for one in made] == [False]
        acceleration.follow(OUTSIDE, {})
        await trio.sleep(0.1)
        assert [one.is_open for one in made] == [False, True]

    await following(OUTSIDE, check)
    assert not made[-1].is_open


@pytest.mark.trio
async def test_services_on_loopback_addresses_never_start_it(
    made: list[KernelDouble], autojump_clock: MockClock
) -> None:
    """Neither a program nor a device is asked for."""

    async def check(acceleration: Acceleration) -> None:
        await trio.sleep(2 * TRIED_AGAIN_S)
        assert made == []

    await following(ON_LOOPBACK, check)


@pytest.mark.trio
async def test_status_names_only_the_refusals_there_are(made: list[KernelDouble], autojump_clock: MockClock) -> None:
    """A reason for which no flow is kept out any more is not shown with a zero."""

    async def check(acceleration: Acceleration) -> None:
        assert acceleration.status().refused == {"no-room": 2}

    await following(OUTSIDE, check)


@pytest.mark.trio
async def test_flows_whose_snat_address_is_another_now_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the kernel would go on with the former address, for ESP shows the slow path nothing."""
    offered: list[tuple[Port, SocketAddress | None]] = []

    def offer(self: Acceleration, flow: Flow) -> None:
        offered.append((flow.port, flow.source))

    async with world(tmp_path) as w:
        await w.connected()
        monkeypatch.setattr(Acceleration, "offer", offer)
        await w.engine.reload(service(snat_addresses=[address(31)]))
        assert (Port.NAT_T, None) in offered


class GuisesDouble:
    """Takes the place of what lets snat flows go without sockets."""

    ports = range(8192, 32768)

    def __init__(self) -> None:
        self.opened = 0
        self.is_open = False

    def __enter__(self) -> GuisesDouble:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def open(self) -> dict[Any, Any]:
        self.opened += 1
        return {}

    def give_sockets(self) -> Iterator[int]:
        return iter(())


@pytest.mark.trio
async def test_where_the_kernel_brings_no_answers_every_snat_flow_has_a_socket(
    made: list[KernelDouble], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, tried again, and of no concern to the fast path."""

    def refused(*_: object) -> None:
        raise BpfError("this kernel has no socket lookup")

    monkeypatch.setattr(answers, "Answers", refused)
    events, guises = EventLog(), GuisesDouble()
    acceleration = Acceleration(events)
    acceleration.snat_sockets.guises = cast("SnatGuises", guises)
    from_pool = snat_service(pool=("203.0.113.20",))
    acceleration.follow(OUTSIDE, {"vpn": from_pool})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceleration.run)
        await trio.sleep(2.5 * TRIED_AGAIN_S)
        assert (guises.opened, guises.is_open, acceleration.mode) == (3, False, "native")
        told = [event.text for event in events.after(0, 100) if event.kind == "snat-sockets"]
        assert told == ["every snat flow needs a socket: this kernel has no socket lookup"]
        acceleration.follow(OUTSIDE, {"vpn": snat_service(pool=())})
        await trio.sleep(2.5 * TRIED_AGAIN_S)
        assert guises.opened == 3
        nursery.cancel_scope.cancel()


def snat_service(pool: tuple[str, ...]) -> RunningService:
    config = Service(name="vpn", address=IPAddress("203.0.113.10"), source=Source.SNAT)
    return RunningService(config, {}, make_scheduler("round-robin", key=b"key", random=Random(1)), pool, 10)
