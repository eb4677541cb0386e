"""Runs the engine: builds its parts, keeps them going, obeys signals, stops cleanly."""

from __future__ import annotations

import logging
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trio

from engine.acceleration import Acceleration
from engine.config.load import Loaded, load
from engine.config.schema import EngineSection
from engine.configuration import Configuration
from engine.control.api import Refused
from engine.control.endpoint import ControlSocketError
from engine.control.server import serve
from engine.deployment import Deployment
from engine.events import EventLog
from engine.garbage import SparedCollector
from engine.logs import set_up_logging
from engine.metrics.collector import Collector
from engine.net.forwarder import Forwarder
from engine.net.pump import Pump
from engine.net.snat_guises import SnatGuises
from engine.net.sockets import BindError
from engine.net.starvation import Starvation
from engine.net.transparent import PlumbingError
from engine.operations import Operations
from engine.paths import default_control_socket, state_dir_of
from engine.secret import install_secret
from engine.session_events import SessionEvents
from engine.survival.lock import StateInUse, locked
from engine.survival.saving import Saving
from engine.survival.takeover import take_over
from engine.systemd import notify, report, status_line
from engine.telemetry.telemetry import Telemetry

EXPIRY_TICK_S = 0.5
EXPIRED_AT_ONCE = 500
SOCKET_IDLE_S = 60.0
SOCKETS_LOOKED_AT = 2_000
RESERVED_FILES = 256
"""Open files left for control clients, probes and the interpreter."""

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class StartError(Exception):
    """The engine cannot start; the message says why and what to do."""


def run(config_path: Path) -> int:
    """Run the engine until SIGTERM or SIGINT; returns 0.

    Raises:
        ConfigError: the configuration is not valid.
        StartError: a port, a privilege or the control socket cannot be had.
    """
    loaded = load(config_path)
    set_up_logging(loaded.config.engine.log_level)
    trio.run(serve_forever, loaded)
    return 0


async def serve_forever(
    loaded: Loaded, *, signals: bool = True, task_status: trio.TaskStatus[Operations] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the engine until cancelled or, with `signals`, told to stop; raises StartError."""
    with ExitStack() as stack:
        # From the beginning: one that comes while the engine is starting would else end it at once.
        received = stack.enter_context(trio.open_signal_receiver(*_SIGNALS)) if signals else None
        await _serve(loaded, received, stack, task_status)


async def _serve(
    loaded: Loaded, received: AsyncIterator[int] | None, stack: ExitStack, task_status: trio.TaskStatus[Operations]
) -> None:
    settings = loaded.config.engine
    state_dir = state_dir_of(settings.state_dir)
    events = EventLog()
    max_open_sockets = _socket_limit(settings.max_open_sockets)
    acceleration = Acceleration(events, state_dir)
    forwarder = Forwarder(
        settings.max_sessions, max_open_sockets, Starvation(events), SessionEvents(events), acceleration
    )
    forwarder.challenge.observe = acceleration.challenge
    failure: StartError | None = None
    async with trio.open_nursery() as nursery:
        pump = Pump(forwarder)
        acceleration.snat_sockets.guises = SnatGuises(pump, forwarder)
        secret = install_secret(state_dir)
        deployment = Deployment(nursery, forwarder, pump, events, secret, acceleration.follow)
        configuration = Configuration(loaded, deployment, state_dir, events)
        saving = Saving(state_dir, forwarder.table, deployment.services, events)
        telemetry = Telemetry(deployment, forwarder, configuration, events, saving)
        operations = Operations(deployment, forwarder, configuration, events, telemetry, acceleration)
        try:
            # Changes under way are carried to their end before anything is taken away.
            async with trio.open_nursery() as control:
                await _start_control(control, settings, operations)
                stack.enter_context(locked(state_dir))
                await configuration.start()
                await take_over(saving.path, forwarder, deployment.services, acceleration, events)
                nursery.start_soon(pump.run)
                nursery.start_soon(saving.run)
                nursery.start_soon(forwarder.challenge.run, deployment.services)
                nursery.start_soon(_expire, forwarder, deployment)
                nursery.start_soon(deployment.upkeep.run)
                nursery.start_soon(telemetry.run)
                nursery.start_soon(acceleration.run)
                collector = Collector(deployment, forwarder, configuration, telemetry, acceleration)
                nursery.start_soon(deployment.metrics.run, collector.collect)
                events.add("notice", "started", f"engine started with {loaded.path}")
                task_status.started(operations)
                if received is not None:
                    nursery.start_soon(report, pump, partial(_line, forwarder, deployment, acceleration, telemetry))
                    await _obey(received, configuration)
                else:
                    await trio.sleep_forever()
                control.cancel_scope.cancel()
        except* (BindError, PlumbingError, ControlSocketError, StateInUse) as refusals:
            failure = StartError("; ".join(map(str, refusals.exceptions)))
        finally:
            notify("STOPPING=1")
            with trio.CancelScope(shield=True):
                await saving.finish()
                nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint()
                saving.close()
                acceleration.close()
                await deployment.close()
    if failure is not None:
        raise failure


async def _start_control(control: trio.Nursery, settings: EngineSection, operations: Operations) -> None:
    path = Path(settings.control_socket) if settings.control_socket else default_control_socket()
    # The control socket first: a second engine is refused there, before it touches the first one's plumbing.
    await control.start(_serve_control, operations, path, settings.control_group)


async def _serve_control(operations: Operations, path: Path, group: str, task_status: trio.TaskStatus[None]) -> None:
    await serve(operations, path, group=group, task_status=task_status)


async def _expire(forwarder: Forwarder, deployment: Deployment) -> None:
    with SparedCollector(lambda: len(forwarder.table.sessions)):
        while True:
            await trio.sleep(EXPIRY_TICK_S)
            while forwarder.table.expire(trio.current_time(), EXPIRED_AT_ONCE):
                await trio.lowlevel.checkpoint()
            deployment.expire(trio.current_time())
            forwarder.upstreams.close_idle(trio.current_time(), SOCKET_IDLE_S, SOCKETS_LOOKED_AT)


async def _obey(received: AsyncIterator[int], configuration: Configuration) -> None:
    notify("READY=1")
    async for number in received:
        if number != signal.SIGHUP:
            log.info("stopping on %s", signal.Signals(number).name)
            return
        notify("RELOADING=1")
        try:
            await configuration.reload("SIGHUP")
        except Refused as refusal:
            for line in refusal.details:
                log.error("%s", line)
        notify("READY=1")


def _line(forwarder: Forwarder, deployment: Deployment, acceleration: Acceleration, telemetry: Telemetry) -> str:
    servers = [server for service in deployment.services.values() for server in service.servers.values()]
    return status_line(len(forwarder.table.sessions), servers, acceleration.mode, telemetry.alarms)


def _socket_limit(wanted: int) -> int:
    """Take as many open files as allowed; returns how many upstream sockets may be open (0: as many as fit)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fit = max(RESERVED_FILES, hard - RESERVED_FILES)
    return min(wanted, fit) if wanted else fit
