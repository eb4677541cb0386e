"""Probes the real servers of the services in force, and acts on what becomes of their health."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import trio

from engine.config.schema import SchedulerKind
from engine.events import EventLog
from engine.health.agent import AgentLoad
from engine.health.monitor import Prompt, monitor, monitor_agent
from engine.health.result import ProbeResult, ProbeTarget
from engine.sessions.flow import Port
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service

Evacuate = Callable[[Service, RealServer], Awaitable[int]]


class Probing:
    """The monitors, one a real server; `evacuate` is called when one goes down."""

    def __init__(self, nursery: trio.Nursery, events: EventLog, rng: Random, evacuate: Evacuate) -> None:
        self._nursery = nursery
        self._events = events
        self._random = rng
        self._evacuate = evacuate
        self._scopes: dict[RealServer, trio.CancelScope] = {}

    def start(self, service: Service, server: RealServer) -> None:
        """Probe a real server from now on, unless that is done already."""
        if server in self._scopes:
            return
        scope = self._scopes[server] = trio.CancelScope()
        self._nursery.start_soon(self._watch, scope, service, server)

    def stop(self, server: RealServer) -> None:
        """Probe a real server no longer."""
        if scope := self._scopes.pop(server, None):
            scope.cancel()
        server.agent_load = None

    async def _watch(self, scope: trio.CancelScope, service: Service, server: RealServer) -> None:
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
        on_result = partial(self._probed, service, server)
        on_load = partial(_agent_said, server)
        probe = partial(monitor, target, config.health, on_result, prompt=Prompt(), rng=self._random)
        ask = partial(
            monitor_agent, server.address, config.agent, on_load, prompt=Prompt(), rng=self._random, source=source
        )
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe)
                if config.scheduler is SchedulerKind.ADAPTIVE:
                    nursery.start_soon(ask)

    def _probed(self, service: Service, server: RealServer, result: ProbeResult) -> None:
        transition = server.health.observe(result, trio.current_time())
        if transition is None:
            return
        name = f"{service.name}/{server.name}"
        about = partial(self._events.add, service=service.name, server=server.name)
        if transition.new == "down":
            consequence = "its clients go to other servers with their next packet"
            about("error", "server-down", f"{name} is down: {transition.reason}; {consequence}")
            self._nursery.start_soon(self._evacuate, service, server)
        else:
            after = "" if transition.old == "unknown" else f" after {math.ceil(transition.after_s)}s"
            about("notice", "server-up", f"{name} is up{after}: {transition.reason}")


def _agent_said(server: RealServer, answer: AgentLoad) -> None:
    server.agent_load = answer.load
