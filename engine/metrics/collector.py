"""Reads the running engine for Prometheus, a little at a time: the forwarder is on the same thread."""

from __future__ import annotations

import time
from typing import Final, get_args

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from engine.acceleration import OFF, Acceleration
from engine.config.schema import AdminState, FastPath
from engine.configuration import Configuration
from engine.deployment import Deployment
from engine.metrics import families
from engine.metrics.exposition import Page, label
from engine.net.forwarder import Forwarder
from engine.sessions.invariants import NO_REPLIES, Violation
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import ineligible
from engine.telemetry.telemetry import Telemetry
from engine.version import VERSION

SLICE_S: Final = 0.001
"""How long the forwarder waits for the collector at a stretch."""
AGENT_FULL: Final = 100
MODES: Final = (FastPath.NATIVE, FastPath.GENERIC, OFF)
VIOLATIONS: Final = (NO_REPLIES, *(violation.kind for violation in get_args(Violation)))

_IN, _OUT = label("direction", "in"), label("direction", "out")
_ESTABLISHED, _HALF_OPEN = label("phase", "established"), label("phase", "half-open")


class Collector:
    """Counters are only read: being asked costs datagrams nothing but the slices in between."""

    def __init__(
        self,
        deployment: Deployment,
        forwarder: Forwarder,
        configuration: Configuration,
        telemetry: Telemetry,
        acceleration: Acceleration,
    ) -> None:
        self._deployment = deployment
        self._forwarder = forwarder
        self._configuration = configuration
        self._telemetry = telemetry
        self._acceleration = acceleration
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def collect(self) -> list[bytes]:
        """Everything in Prometheus' text format, in parts."""
        page = Page()
        self._add_engine(page)
        self._add_fast_path(page)
        begun_s = time.perf_counter()
        for service in list(self._deployment.services.values()):
            self._add_service(page, service)
            for server in list(service.servers.values()):
                _add_server(page, service, server)
                if time.perf_counter() - begun_s > SLICE_S:
                    await trio.lowlevel.checkpoint()
                    begun_s = time.perf_counter()
        parts = []
        for part in page.parts():
            parts.append(part)
            await trio.lowlevel.checkpoint()
        # By a thread, because it lists the open files, of which snat mode has one for each flow.
        return [*parts, await trio.to_thread.run_sync(generate_latest, self._process)]

    def _add_engine(self, page: Page) -> None:
        table, upstreams = self._forwarder.table, self._forwarder.upstreams
        page.add(families.BUILD_INFO, 1, label("version", VERSION))
        page.add(families.CONFIG_INFO, 1, label("digest", self._configuration.loaded.digest))
        for alarm in self._telemetry.alarms:
            named = label("service", alarm.service), label("server", alarm.server)
            page.add(families.ALARMS, 1, label("kind", alarm.kind), label("severity", alarm.severity), *named)
        page.add(families.SESSION_TABLE_ENTRIES, len(table.sessions))
        page.add(families.SESSION_TABLE_LIMIT, table.max_sessions)
        page.add(families.SESSIONS_EVICTED, table.evicted)
        page.add(families.FLOWS, table.flow_count)
        page.add(families.UPSTREAM_SOCKETS, len(upstreams))
        page.add(families.UPSTREAM_SOCKETS_LIMIT, upstreams.max_open)
        page.add(families.UPSTREAM_SOCKETS_TAKEN_BACK, upstreams.closed_for_room)

    def _add_fast_path(self, page: Page) -> None:
        kernel = self._acceleration.status()
        for mode in MODES:
            page.add(families.FAST_PATH_MODE, mode == self._acceleration.mode, label("mode", mode))
        page.add(families.FAST_PATH_FLOWS, kernel.flows)
        page.add(families.FAST_PATH_PACKETS, kernel.forwarded)
        for reason, count in kernel.refused.items():
            page.add(families.FAST_PATH_FLOWS_REFUSED, count, label("reason", reason))
        for reason, count in kernel.passed_up.items():
            page.add(families.FAST_PATH_PACKETS_PASSED_UP, count, label("reason", reason))
        for outcome, count in kernel.kept_off.items():
            page.add(families.FAST_PATH_PACKETS_KEPT_OFF, count, label("outcome", outcome))
        for device in kernel.devices:
            named = label("device", device.name), label("mode", device.mode or OFF)
            page.add(families.FAST_PATH_DEVICE, not device.reason, *named)

    def _add_service(self, page: Page, service: Service) -> None:
        who, newcomers = label("service", service.name), service.newcomers
        page.add(families.PERSISTENCE_RECORDS, len(service.persistence), who)
        lost = {"receive-buffer-full": self._deployment.kernel_drops(service)}
        for reason, count in (service.drops | lost).items():
            page.add(families.DATAGRAMS_DROPPED, count, who, label("reason", reason))
        for kind in VIOLATIONS:
            # The first one counts: a counter that only then appears would hide it from increase().
            page.add(families.VIOLATIONS, service.violations.counts[kind], who, label("kind", kind))
        page.add(families.CHALLENGING, newcomers.challenging(service.config), who)
        page.add(families.CHALLENGES_SENT, newcomers.challenges_sent, who)
        page.add(families.COOKIES_RECEIVED, newcomers.cookies_accepted, who, label("verdict", "accepted"))
        page.add(families.COOKIES_RECEIVED, newcomers.cookies_refused, who, label("verdict", "refused"))


def _add_server(page: Page, service: Service, server: RealServer) -> None:
    who = f"{label('service', service.name)},{label('server', server.name)}"
    _add_condition(page, service, server, who)
    page.add(families.SESSIONS, server.established, who, _ESTABLISHED)
    page.add(families.SESSIONS, server.half_open, who, _HALF_OPEN)
    page.add(families.SESSIONS_OPENED, server.new_sessions, who)
    page.add(families.SESSIONS_ENDED, server.ended_sessions, who)
    page.add(families.PACKETS, server.packets_in, who, _IN)
    page.add(families.PACKETS, server.packets_out, who, _OUT)
    page.add(families.BYTES, server.bytes_in, who, _IN)
    page.add(families.BYTES, server.bytes_out, who, _OUT)
    page.add(families.MESSAGES_RETRANSMITTED, server.retransmitted_in, who, _IN)
    page.add(families.MESSAGES_RETRANSMITTED, server.retransmitted_out, who, _OUT)


def _add_condition(page: Page, service: Service, server: RealServer, who: str) -> None:
    """What the operator, the probes, the load agent and the clients' handshakes make of a real server."""
    config, health, load = server.config, server.health, server.agent_load
    for state in AdminState:
        page.add(families.SERVER_ADMIN_STATE, state is config.state, who, label("state", state))
    page.add(families.SERVER_TAKES_SESSIONS, ineligible(service, server) is None, who)
    page.add(families.SERVER_WEIGHT, config.weight, who)
    if config.max_sessions:
        page.add(families.SERVER_SESSIONS_LIMIT, config.max_sessions, who)
    if health.health in ("up", "down"):
        page.add(families.SERVER_UP, health.health == "up", who)
    page.add(families.SERVER_BUSY, health.busy, who)
    if health.rtt_s is not None:
        page.add(families.SERVER_PROBE_RTT, health.rtt_s, who)
    if load is not None and load <= AGENT_FULL:
        page.add(families.SERVER_AGENT_LOAD, load / AGENT_FULL, who)
    for family, part in ((families.SERVER_HANDSHAKE_MEDIAN, 0.5), (families.SERVER_HANDSHAKE_P95, 0.95)):
        took_s = server.handshakes.quantile_s(part)
        if took_s is not None:
            page.add(family, took_s, who)
    page.add(families.SERVER_BUSIEST_SOURCE, max(server.source_use.values(), default=0), who)
    page.add(families.SERVER_FAST_PATH_FLOWS, server.fast_flows, who)
