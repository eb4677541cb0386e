"""Probes the real servers of the services in force, and acts on what becomes of their health."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random

import trio

from engine.config.schema import HealthKind, SchedulerKind
from engine.control.api import Refused
from engine.events import EventLog
from engine.health.agent import AgentLoad
from engine.health.monitor import Prompt, monitor, monitor_agent
from engine.health.result import ProbeResult, ProbeTarget
from engine.sessions.flow import Port
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import where_clients_go

Notice = Callable[[Service, RealServer], None]

SLACK_S = 1.0
"""What a probe may take beyond its timeout before nobody waits for it any longer."""


class _Watch:
    """The monitor of one real server: how to stop it, prompt it, and wait for what it finds."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.prompt = Prompt()
        self._answers: dict[trio.Event, int] = {}
        self._latest: ProbeResult | None = None

    def found(self, result: ProbeResult) -> None:
        """Wake those whose prompt this result follows."""
        self._latest = result
        for event, number in self._answers.items():
            if number <= self.prompt.taken:
                event.set()

    async def ask(self) -> ProbeResult:
        """What the next probe finds that begins from now on."""
        event = trio.Event()
        self._answers[event] = self.prompt.ask_now()
        try:
            await event.wait()
        finally:
            del self._answers[event]
        assert self._latest is not None
        return self._latest


class Probing:
    """The monitors, one a real server; `failed` is called for each probe that fails, `went_down` when one goes down."""

    def __init__(self, nursery: trio.Nursery, events: EventLog, rng: Random, failed: Notice, went_down: Notice) -> None:
        self._nursery = nursery
        self._events = events
        self._random = rng
        self._failed = failed
        self._went_down = went_down
        self._watches: dict[RealServer, _Watch] = {}

    def start(self, service: Service, server: RealServer) -> None:
        """Probe a real server from now on, unless that is done already."""
        if server in self._watches:
            return
        watch = self._watches[server] = _Watch()
        self._nursery.start_soon(self._run, watch, service, server)

    def stop(self, server: RealServer) -> None:
        """Probe a real server no longer."""
        if watch := self._watches.pop(server, None):
            watch.scope.cancel()
        server.agent_load = None

    async def probe_now(self, service: Service, server: RealServer) -> ProbeResult:
        """Probe a real server at once and wait for what it says; raises Refused."""
        name, health = f"{service.name}/{server.name}", service.config.health
        watch = self._watches.get(server)
        if watch is None or health.type is HealthKind.NONE:
            raise Refused("failed", f"{name} is not probed: set type under [service.health] of {service.name}")
        # One probe may be under way, and only the next one begins from now on.
        with trio.move_on_after(2 * health.timeout_s + SLACK_S):
            return await watch.ask()
        raise Refused("failed", f"the probe of {name} brought no result: its settings changed meanwhile; ask again")

    async def _run(self, watch: _Watch, service: Service, server: RealServer) -> None:
        config = service.config
        port = config.health.port or server.ports[Port.IKE]
        source = service.snat_pool[0] if service.snat_pool else None
        target = ProbeTarget(
            name=server.name,
            address=server.address,
            port=port,
            source=source,
            nat_t=port == server.ports[Port.NAT_T],
        )
        on_result = partial(self._probed, watch, service, server)
        on_load = partial(_agent_said, server)
        probe = partial(monitor, target, config.health, on_result, prompt=watch.prompt, rng=self._random)
        ask = partial(
            monitor_agent, server.address, config.agent, on_load, prompt=Prompt(), rng=self._random, source=source
        )
        with watch.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe)
                if config.scheduler is SchedulerKind.ADAPTIVE:
                    nursery.start_soon(ask)

    def _probed(self, watch: _Watch, service: Service, server: RealServer, result: ProbeResult) -> None:
        now_s = trio.current_time()
        if service.config.health.type is not HealthKind.NONE:
            server.history.probes.append((now_s, result))
        watch.found(result)
        if not (result.ok or result.inconclusive):
            self._failed(service, server)
        transition = server.health.observe(result, now_s)
        if transition is None:
            return
        server.history.changes.append((now_s, transition))
        name = f"{service.name}/{server.name}"
        about = partial(self._events.add, service=service.name, server=server.name)
        if transition.new == "down":
            # First: what becomes of its clients is told with it.
            self._went_down(service, server)
            about("error", "server-down", f"{name} is down: {transition.reason}; {where_clients_go(service, server)}")
        else:
            after = "" if transition.old == "unknown" else f" after {math.ceil(transition.after_s)}s"
            about("notice", "server-up", f"{name} is up{after}: {transition.reason}")


def _agent_said(server: RealServer, answer: AgentLoad) -> None:
    server.agent_load = answer.load
