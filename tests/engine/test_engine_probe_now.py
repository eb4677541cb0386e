"""Probing on request and what is kept of the results, on a clock that runs only when everyone waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from running_engine import FAST_PROBES, refused, service, until, world

from engine import reports
from engine.config.schema import Duration, Health, HealthKind
from engine.events import EventLog
from engine.health import tcp
from engine.health.history import CHANGES_KEPT, PROBES_KEPT
from engine.health.result import ProbeResult, ProbeTarget
from engine.probing import Probing
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from tests.engine.sessions.session_world import World

TCP = Health(type=HealthKind.TCP, port=443, interval_s=Duration(60), timeout_s=Duration(2))


def _unheeded(service: Service, server: RealServer) -> None:
    pass


class Asked:
    """Stands where the TCP probe is: each probe finds what was so when it began, and takes a while to say so."""

    def __init__(self, health: Health = TCP) -> None:
        self.world = World(servers="a", health=health)
        self.server = self.world.server("a")
        self.server.health.fall = self.server.health.rise = 1
        self.answers = True
        self.takes_s = 0.0
        self.times = 0

    async def probe(self, target: ProbeTarget, health: Health) -> ProbeResult:
        self.times += 1
        found = ProbeResult(ok=self.answers, reason=f"probe {self.times}", rtt_s=0.01 if self.answers else None)
        await trio.sleep(self.takes_s)
        return found

    @asynccontextmanager
    async def probed(self) -> AsyncIterator[Probing]:
        """The monitor of the server, after its first probe."""
        async with trio.open_nursery() as nursery:
            probing = Probing(nursery, EventLog(), Random(1), _unheeded, _unheeded)
            probing.start(self.world.service, self.server)
            await trio.sleep(10)
            yield probing
            probing.stop(self.server)

    async def now(self, probing: Probing) -> ProbeResult:
        """What a probe on request finds."""
        return await probing.probe_now(self.world.service, self.server)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    stand_in = Asked()
    monkeypatch.setattr(tcp, "probe", stand_in.probe)
    return stand_in


@pytest.mark.trio
async def test_a_probe_on_request_comes_at_once_and_counts_as_any_other(
    asked: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    async with asked.probed() as probing:
        asked.answers, before_s = False, trio.current_time()
        assert (await asked.now(probing)).reason == "probe 2"
        assert trio.current_time() == before_s
        assert asked.server.health.health == "down"
        assert asked.times == 2


@pytest.mark.trio
async def test_the_answer_is_that_of_a_probe_begun_after_the_request(
    asked: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever asks has just repaired something: the probe that began before it says nothing about that."""
    asked.answers, asked.takes_s = False, 1.5
    async with asked.probed() as probing:
        await trio.sleep(51)
        assert asked.times == 2
        asked.answers = True
        result = await asked.now(probing)
        assert (result.ok, result.reason) == (True, "probe 3")


@pytest.mark.trio
async def test_many_requests_share_a_probe_and_each_gets_an_answer(
    asked: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    asked.takes_s = 1.0
    reasons = []

    async def one(probing: Probing, after_s: float) -> None:
        await trio.sleep(after_s)
        reasons.append((after_s, (await asked.now(probing)).reason))

    async with asked.probed() as probing, trio.open_nursery() as nursery:
        for after_s in (0.0, 0.0, 0.5):
            nursery.start_soon(one, probing, after_s)
    assert sorted(reasons) == [(0.0, "probe 2"), (0.0, "probe 2"), (0.5, "probe 3")]


@pytest.mark.trio
async def test_who_waits_for_a_probe_that_is_stopped_is_told(
    asked: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    asked.takes_s = 1.0
    async with asked.probed() as probing, trio.open_nursery() as nursery:

        async def ask() -> None:
            with refused("failed", "ask again"):
                await asked.now(probing)

        nursery.start_soon(ask)
        await trio.sleep(0.5)
        probing.stop(asked.server)


@pytest.mark.trio
async def test_the_history_is_bounded_and_keeps_the_latest(
    asked: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    async with asked.probed():
        for turn in range(PROBES_KEPT + 20):
            asked.answers = turn % 2 == 0
            await trio.sleep(60)
    kept = reports.server_history(asked.world.service, asked.server)
    assert (len(kept.probes), len(kept.changes)) == (PROBES_KEPT, CHANGES_KEPT)
    assert kept.probes[-1].reason == f"probe {asked.times}"
    assert {change.after_s for change in kept.changes} == {60.0}
    assert [change.new for change in kept.changes[-2:]] == ["up", "down"]
    assert kept.changes[-1].reason == kept.probes[-1].reason
    assert kept.probes[-1].at - kept.probes[0].at == pytest.approx(60.0 * (PROBES_KEPT - 1), abs=0.1)


@pytest.mark.trio
async def test_history_and_probes_on_request_of_a_running_engine(tmp_path: Path) -> None:
    """The history outlives a reload that keeps the server, with other probes even."""
    async with world(tmp_path, service(health=FAST_PROBES)) as w:
        operations = w.engine.operations
        await w.engine.healthy("a", "b")
        row = await operations.probe_now("vpn", "a")
        assert row.ok
        assert row.rtt_s is not None
        assert row.reason.startswith("answers IKE")
        await w.servers["a"].stop()
        assert not (await operations.probe_now("vpn", "a")).ok
        await w.engine.event("server-down")
        await w.engine.reload(service(health=FAST_PROBES | {"type": "tcp", "port": 9}))
        await until(lambda: w.engine.server("a").health == "down")
        history = operations.server_history("vpn", "a")
        changes = [(change.old, change.new) for change in history.changes]
        assert changes == [("unknown", "up"), ("up", "down"), ("unknown", "down")]
        assert history.probes[0].ok
        assert not history.probes[-1].ok


@pytest.mark.trio
async def test_a_server_that_is_not_probed_is_not_probed_on_request_either(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.engine.healthy("a", "b")
        with refused("failed", "vpn/a is not probed: set type under [service.health]"):
            await w.engine.operations.probe_now("vpn", "a")
        with refused("not-found", "real servers: a, b"):
            await w.engine.operations.probe_now("vpn", "z")
        with refused("not-found", "services: vpn"):
            w.engine.operations.server_history("nope", "a")
        assert w.engine.operations.server_history("vpn", "a").probes == []
