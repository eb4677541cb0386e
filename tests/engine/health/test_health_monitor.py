"""When monitors ask, on a clock that runs only when everyone waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from random import Random

import pytest
import trio
import trio.testing

from engine.config.schema import Agent, Duration, Health, HealthKind
from engine.health import monitor as monitors
from engine.health import tcp
from engine.health.agent import AgentLoad
from engine.health.monitor import Prompt, monitor, monitor_agent
from engine.health.result import ProbeResult, ProbeTarget

TARGET = ProbeTarget("rs1", "10.0.0.11", 443, None)
HEALTH = Health(type=HealthKind.TCP, interval_s=Duration(5), timeout_s=Duration(2))
OK = ProbeResult(ok=True, reason="answers", rtt_s=0.01)


class Asked:
    """Stands in for a probe: takes as long as told, and notes when it was asked."""

    def __init__(self) -> None:
        self.takes_s = 0.0
        self.at_s: list[float] = []
        self.results: list[ProbeResult] = []
        self.prompt = Prompt()

    async def probe(self, target: ProbeTarget, health: Health) -> ProbeResult:
        self.at_s.append(trio.current_time())
        await trio.sleep(self.takes_s)
        return OK


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    stand_in = Asked()
    monkeypatch.setattr(tcp, "probe", stand_in.probe)
    return stand_in


def probing(asked: Asked, seed: int = 1) -> Callable[[], Awaitable[None]]:
    return partial(monitor, TARGET, HEALTH, asked.results.append, prompt=asked.prompt, rng=Random(seed))


@asynccontextmanager
async def monitored(asked: Asked) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probing(asked))
        yield
        nursery.cancel_scope.cancel()


def gaps(times_s: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times_s)]


@pytest.mark.trio
async def test_interval_counts_from_start_to_start(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """A probe that takes two of five seconds does not make the rhythm slower."""
    asked.takes_s = 2.0
    async with monitored(asked):
        await trio.sleep(28)
    assert gaps(asked.at_s) == pytest.approx([5.0] * 5)
    assert len(asked.results) == 6


@pytest.mark.trio
async def test_slow_probes_never_overlap_or_pile_up(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """A probe longer than the interval is followed by one other, and lost turns are not made up for."""
    asked.takes_s = 12.0
    async with monitored(asked):
        await trio.sleep(25)
        asked.takes_s = 0.0
        await trio.sleep(25)
    assert gaps(asked.at_s)[:2] == pytest.approx([12.0, 12.0])
    assert gaps(asked.at_s)[2:] == pytest.approx([12.0, 5.0, 5.0])


@pytest.mark.trio
async def test_first_probes_come_soon_and_spread(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """Many servers are not asked in one instant, yet each within a tenth of the interval."""
    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for seed in range(20):
            nursery.start_soon(probing(asked, seed))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    delays = [at_s - started_s for at_s in asked.at_s]
    assert len(set(delays)) == 20
    assert all(0 <= delay_s <= 0.5 for delay_s in delays)


@pytest.mark.trio
async def test_prompt_asks_now_and_restarts_the_interval(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """A prompt between two turns is answered at once, and the next turn comes an interval after it."""
    async with monitored(asked):
        await trio.sleep(2)
        asked.prompt.ask_now()
        await trio.sleep(6)
    assert asked.at_s[1] == pytest.approx(2.0)
    assert asked.at_s[2] == pytest.approx(7.0)


@pytest.mark.trio
async def test_prompts_do_not_become_a_flood(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """However often traffic prompts, a server is asked no more than four times a second."""
    async with monitored(asked):
        for _ in range(1000):
            await trio.sleep(0.01)
            asked.prompt.ask_now()
    assert 35 <= len(asked.at_s) <= 41
    assert min(gaps(asked.at_s)) >= monitors.SHORTEST_GAP_S - 1e-9


@pytest.mark.trio
async def test_prompt_during_a_probe_is_not_lost(asked: Asked, autojump_clock: trio.testing.MockClock) -> None:
    """A question under way may be older than the prompt's cause: one more follows it."""
    asked.takes_s = 2.0
    async with monitored(asked):
        await trio.sleep(1)
        asked.prompt.ask_now()
        await trio.sleep(3)
    assert len(asked.at_s) == 2
    assert gaps(asked.at_s) == pytest.approx([2.0])


@pytest.mark.trio
async def test_type_none_is_up_without_a_probe() -> None:
    """A server that is not to be probed is up once and for all."""
    found: list[ProbeResult] = []
    await monitor(TARGET, Health(type=HealthKind.NONE), found.append, prompt=Prompt(), rng=Random(1))
    assert found == [ProbeResult(ok=True, reason="not probed", rtt_s=None)]


@pytest.mark.trio
async def test_agent_is_asked_in_its_own_rhythm(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The load agent is asked every seven seconds, whatever the probe's interval is."""
    at_s: list[float] = []
    loads: list[AgentLoad] = []

    async def answer(address: str, agent: Agent, source: str | None) -> AgentLoad:
        at_s.append(trio.current_time())
        return AgentLoad(50, "load 50")

    monkeypatch.setattr(monitors, "read_load", answer)
    with trio.move_on_after(15):
        await monitor_agent("10.0.0.11", Agent(), loads.append, prompt=Prompt(), rng=Random(1))
    assert gaps(at_s) == pytest.approx([7.0, 7.0])
    assert loads == [AgentLoad(50, "load 50")] * 3
