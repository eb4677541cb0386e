"""Watches the engine once a second: rates, series, oldest sessions and alarms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import trio

from engine.configuration import Configuration
from engine.control.status import Alarm, Rates, Series
from engine.deployment import Deployment
from engine.events import EventLog
from engine.net.forwarder import Forwarder
from engine.sessions.query import slices
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.survival.saving import Saving
from engine.telemetry.alarms import AlarmBoard, Finding
from engine.telemetry.capacity import capacity_findings
from engine.telemetry.conditions import service_findings
from engine.telemetry.file_watch import FileWatch
from engine.telemetry.no_route import NoRoute
from engine.telemetry.oldest import OldestSessions
from engine.telemetry.one_way import OneWay
from engine.telemetry.open_files import OpenFiles
from engine.telemetry.own_network import OwnNetworkWatch
from engine.telemetry.reassembly import reassembly_failures, reassembly_findings
from engine.telemetry.return_path import return_path_findings
from engine.telemetry.rise import Rise
from engine.telemetry.sampler import TICK_S, Named, Sampler, Thing
from engine.telemetry.silence import Silence
from engine.telemetry.strangers import watch_past_return_path, watch_past_sockets
from engine.telemetry.violations import ViolationWatch


class Telemetry:
    """What status and series tell beside plain counters; it only reads what others keep."""

    def __init__(
        self,
        deployment: Deployment,
        forwarder: Forwarder,
        configuration: Configuration,
        events: EventLog,
        saving: Saving,
    ) -> None:
        self._deployment = deployment
        self._forwarder = forwarder
        self._configuration = configuration
        self._saving = saving
        self._sampler = Sampler(trio.current_time())
        self._oldest = OldestSessions()
        self._silence = Silence()
        self._buffer_drops: dict[Service, Rise] = {}
        self._violations = ViolationWatch(events, trio.current_time())
        self._fragments_lost = Rise(reassembly_failures())
        self._open_files = OpenFiles()
        self._own_network = OwnNetworkWatch()
        self._no_route = NoRoute()
        self._one_way = OneWay()
        self._board = AlarmBoard(events)
        self._file = FileWatch(configuration.path, configuration.loaded.digest)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._file.run, lambda: self._configuration.loaded.digest)
            nursery.start_soon(self._own_network.run, self._deployment.services.values)
            nursery.start_soon(watch_past_return_path, self._deployment)
            nursery.start_soon(watch_past_sockets, self._silence.unanswered, self._forwarder.table.half_open.values)
            while True:
                await trio.sleep(TICK_S)
                self.look()
                await self._find_oldest()

    def look(self) -> None:
        """Take in how things stand now."""
        now_s, now_at = trio.current_time(), time.time()
        services = list(self._deployment.services.values())
        self._sampler.sample(services, now_s, now_at)
        self._silence.look(self._servers(), self._forwarder.table.half_open.values(), now_s)
        self._no_route.look(services, now_s)
        self._one_way.look(services, now_s)
        self._violations.look(services, now_s)
        with suppress(OSError):
            self._fragments_lost.look(reassembly_failures(), now_s)
        self._open_files.look(now_s)
        before, self._buffer_drops = self._buffer_drops, {}
        for service in services:
            drops = self._deployment.kernel_drops(service)
            rise = self._buffer_drops[service] = before.get(service) or Rise(0)
            rise.look(drops, now_s)
        self._board.post(self._findings(now_s), now_s, now_at)

    @property
    def alarms(self) -> list[Alarm]:
        """What is wrong, the gravest first."""
        return self._board.alarms

    def rates(self, thing: Thing | None = None) -> Rates:
        """What happens per second; of the whole engine without a thing."""
        return self._sampler.rates(thing)

    def series(self, things: list[Named], points: int) -> list[Series]:
        """How some things went."""
        return self._sampler.series(things, points)

    def oldest_session_s(self, server: RealServer) -> float | None:
        """Age of a real server's oldest session, if it has one and it was found."""
        return self._oldest.age_s(server, trio.current_time())

    def unanswered(self, server: RealServer) -> int:
        """How many clients wait for a first answer of a real server that answers nobody; 0: it does answer."""
        return self._silence.unanswered(server)

    def _servers(self) -> list[RealServer]:
        return [server for service in self._deployment.services.values() for server in service.servers.values()]

    def _findings(self, now_s: float) -> Iterator[Finding]:
        stands = self._board.stands
        found = [
            service_findings(service, self._silence, rise.gained, stands, now_s)
            for service, rise in self._buffer_drops.items()
        ]
        yield from chain(*found, capacity_findings(self._forwarder.table, self._forwarder.upstreams, stands))
        yield from self._violations.findings(stands, now_s)
        yield from reassembly_findings(self._fragments_lost.gained)
        yield from return_path_findings(self._deployment.upkeep)
        yield from self._open_files.findings()
        yield from self._own_network.findings()
        yield from self._no_route.findings()
        yield from self._one_way.findings(self._deployment.services.values())
        if self._saving.failure:
            yield Finding(
                "sessions-unsaved",
                "sessions cannot be saved: a restart of the engine would lose those that do not take the fast path",
                self._saving.failure,
            )
        loaded = self._configuration.loaded
        if changed := self._file.finding(loaded.digest, has_services=bool(loaded.config.services)):
            yield changed

    async def _find_oldest(self) -> None:
        if not self._oldest.seek(self._servers()):
            return
        for some in slices(list(self._forwarder.table.sessions.values())):
            if not self._oldest.feed(some):
                break
            await trio.lowlevel.checkpoint()
