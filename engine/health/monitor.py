"""Asks the same question of a real server again and again, and at once when prompted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final, TypeVar

import trio

from engine.config.schema import Agent, Health, HealthKind
from engine.health import command, icmp, tcp
from engine.health.agent import AgentLoad, read_load
from engine.health.ike import IkeProber
from engine.health.result import ProbeResult, ProbeTarget

FIRST_SPREAD: Final = 0.1
"""Part of the interval over which the first questions of many servers are spread."""
SHORTEST_GAP_S: Final = 0.25
"""Prompts come with traffic; this keeps them from becoming a flood of probes."""

_Answer = TypeVar("_Answer")


class Prompt:
    """Lets anyone have a monitor ask now instead of at its next turn."""

    def __init__(self) -> None:
        self._given = trio.Event()
        self._asked = 0
        self.taken = 0
        """The number of the latest prompt that the question now under way, or the latest one, follows."""

    def ask_now(self) -> int:
        """Have the next question asked as soon as the shortest gap allows; returns this prompt's number."""
        self._asked += 1
        self._given.set()
        return self._asked

    async def wait_until(self, deadline_s: float) -> None:
        """Wait for a prompt, or without one for the deadline, and take the prompt."""
        with trio.move_on_at(deadline_s):
            await self._given.wait()
        self._given = trio.Event()
        self.taken = self._asked


async def monitor(
    target: ProbeTarget,
    health: Health,
    on_result: Callable[[ProbeResult], None],
    *,
    prompt: Prompt,
    rng: Random,
) -> None:
    """Probe a real server for ever and hand each result on; returns only where nothing is to be probed."""
    if health.type is HealthKind.NONE:
        on_result(ProbeResult(ok=True, reason="not probed", rtt_s=None))
        return
    await _repeat(_prober(target, health), health.interval_s, on_result, prompt, rng)


async def monitor_agent(
    address: str,
    agent: Agent,
    on_load: Callable[[AgentLoad], None],
    *,
    prompt: Prompt,
    rng: Random,
    source: str | None = None,
) -> None:
    """Ask a real server's load agent for ever and hand each answer on."""
    await _repeat(partial(read_load, address, agent, source), agent.interval_s, on_load, prompt, rng)


def _prober(target: ProbeTarget, health: Health) -> Callable[[], Awaitable[ProbeResult]]:
    match health.type:
        case HealthKind.IKE:
            return partial(IkeProber().probe, target, health)
        case HealthKind.ICMP:
            return partial(icmp.probe, target, health)
        case HealthKind.TCP:
            return partial(tcp.probe, target, health)
        case HealthKind.EXEC:
            return partial(command.probe, target, health)
        case HealthKind.NONE:
            raise ValueError("type none asks nothing")


async def _repeat(
    ask: Callable[[], Awaitable[_Answer]],
    interval_s: float,
    on_answer: Callable[[_Answer], None],
    prompt: Prompt,
    rng: Random,
) -> None:
    """Ask from start to start of an interval; one that takes longer is followed at once, never doubled."""
    await prompt.wait_until(trio.current_time() + rng.uniform(0, interval_s * FIRST_SPREAD))
    while True:
        started_s = trio.current_time()
        on_answer(await ask())
        await trio.sleep_until(started_s + min(SHORTEST_GAP_S, interval_s))
        await prompt.wait_until(started_s + interval_s)
