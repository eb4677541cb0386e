"""The fast path if this machine has one: switched on, off and explained while the engine runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from engine.config.fast_path import why_not_wanted
from engine.config.schema import Config
from engine.control.status import FastPathDevice, KernelStatus
from engine.events import EventLog
from engine.net.challenge import ChallengeState
from engine.prospects import Prospects
from engine.sessions.fast_path import Carried, Forwarded
from engine.sessions.flow import Flow, Port
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.snat_sockets import SnatSockets
from engine.wire.cookie import CookieKeys

if TYPE_CHECKING:
    from engine.fastpath.kernel import KernelForwarding
    from engine.fastpath.pins import Pins

OFFERED_AT_ONCE = 500
TOLD_EVERY_S = 1.0
TRIED_AGAIN_S = 30.0
"""After a failure, which may have been a moment's: of memory or of open files, say."""
OFF = "off"


class Acceleration:
    """Takes flows for the kernel while the fast path is on; everything stays on the slow path while it is not."""

    def __init__(self, events: EventLog, state_dir: Path | None = None) -> None:
        """`state_dir` is the engine's: what is left in the kernel is found by it again; None: nothing is left."""
        self._events = events
        self._state_dir = state_dir
        self._carries: Carried = lambda flow, now_s: None
        self._left: KernelForwarding | None = None
        """What an earlier engine left in the kernel, until this one forwards with it."""
        self._services: Mapping[str, Service] = {}
        self._config = Config()
        self._demanding: Mapping[str, CookieKeys] = {}
        """The services that challenge newcomers, by name, and the keys of their cookies."""
        self._kernel: KernelForwarding | None = None
        self._why_off = "the engine is starting"
        self._told = ("", "")
        self._changed = trio.Event()
        self._why_unpinned = ""
        self.snat_sockets = SnatSockets(events)

    def follow(self, config: Config, services: Mapping[str, Service]) -> None:
        """Serve a configuration that was put in force."""
        self._config, self._services = config, services
        self._changed.set()
        self.snat_sockets.follow(config, services)

    def challenge(self, state: ChallengeState) -> None:
        """Take over what newcomers are challenged with."""
        self._demanding = dict.fromkeys(state.services, state.keys)
        if self._kernel is not None:
            self._kernel.challenge_changed()

    async def find(self) -> list[Forwarded]:
        """The flows that the kernel forwards since an earlier engine; call once, before `run`."""
        try:
            from engine.fastpath.errors import FastPathError
            from engine.fastpath.kernel import KernelForwarding
        except ImportError:
            return []
        pins = self._pins()
        if pins is None or not pins.exist:
            return []
        if reason := why_not_wanted(self._config):
            if await trio.to_thread.run_sync(pins.drop):
                text = f"an earlier engine's fast path was taken out of the kernel ({reason}): all takes the slow path"
                self._events.add("notice", "fast-path", text)
            return []
        try:
            self._left = await trio.to_thread.run_sync(
                KernelForwarding, self._config, self._protected, pins, self._carries
            )
            return await trio.to_thread.run_sync(self._left.found)
        except FastPathError as error:
            self._events.add("warning", "fast-path", f"an earlier engine's fast path cannot be taken over: {error}")
            return []

    def adopt(self, flow: Flow, forwarded: Forwarded) -> None:
        """Go on with what `find` found of a flow."""
        if self._left is not None:
            self._left.adopt(flow, forwarded)

    def discard(self, forwarded: Forwarded) -> None:
        """Take from the kernel what `find` found of nobody's flow."""
        if self._left is not None:
            self._left.discard(forwarded)

    def close(self) -> None:
        """Leave in the kernel what was found there, if nothing came of it."""
        if self._left is not None:
            self._left.leave()
            self._left.close()

    def tell(self, carried: Carried) -> None:
        """Tell this of flows from now on."""
        self._carries = carried

    def offer(self, flow: Flow) -> None:
        """A flow's sessions or its source have changed, or it has ended."""
        if self._kernel is not None:
            self._kernel.offer(flow)

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Bring a flow's counters and the moments it was last seen up to date."""
        if self._kernel is not None:
            self._kernel.refresh(flow, now_s)

    def count(self, server: RealServer) -> None:
        """Bring a real server's counters up to date."""
        if self._kernel is not None:
            self._kernel.count(server)

    def abandon(self, server: RealServer, now_s: float) -> Iterable[int]:
        """Leave a real server's flows to the slow path, some of them each turn."""
        return self._kernel.abandon(server, now_s) if self._kernel is not None else ()

    def tunnels_begin(self, now_s: float) -> None:
        """Have the kernel forward the ESP that follows an answer which is about to leave."""
        if self._kernel is not None:
            self._kernel.tunnels_begin(now_s)

    def at_rest(self, now_s: float) -> None:
        """The slow path holds no datagrams: flows change paths now."""
        if self._kernel is not None:
            self._kernel.at_rest(now_s)

    @property
    def mode(self) -> str:
        """native, generic or off."""
        return self._kernel.mode if self._kernel is not None else OFF

    @property
    def reason(self) -> str:
        """Why not more; empty where all is as wanted."""
        return self._kernel.reason if self._kernel is not None else self._why_off

    def status(self) -> KernelStatus:
        """What the kernel forwards by itself."""
        kernel = self._kernel
        if kernel is None:
            return KernelStatus()
        return KernelStatus(
            flows=kernel.flow_count,
            forwarded=kernel.forwarded,
            refused={reason: count for reason, count in kernel.refused.items() if count},
            passed_up={reason.slug: count for reason, count in kernel.passed_up.items() if count},
            kept_off={reason.slug: count for reason, count in kernel.kept_off.items() if count},
            devices=[
                FastPathDevice(name=one.name, mode=one.mode or "", egress=one.egress, reason=one.reason)
                for one in kernel.attachments
            ],
        )

    async def run(self) -> None:
        """Keep the fast path as it is wanted, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.snat_sockets.run)
            await self._keep_forwarding()

    async def _keep_forwarding(self) -> None:
        while True:
            self._changed = trio.Event()
            if reason := why_not_wanted(self._config):
                self._why_off = reason
                if self._told[0] not in ("", OFF):
                    self._tell(OFF, reason)
                await self._changed.wait()
            else:
                await self._forward_in_kernel()

    async def _forward_in_kernel(self) -> None:
        """Forward in the kernel until another mode is wanted, or for as long as it can be done."""
        try:
            from engine.fastpath.errors import FastPathError
            from engine.fastpath.kernel import KernelForwarding
        except ImportError as error:
            self._turned_off(f"a part of it is missing: {error}")
            await self._changed.wait()
            return
        failure = ""
        try:
            # To make room for all flows takes the kernel a while, in which the slow path must not stand still.
            kernel, self._left = self._left, None
            if kernel is None:
                make = partial(KernelForwarding, self._config, self._protected, self._pins(), self._carries)
                kernel = await trio.to_thread.run_sync(make)
            with kernel:
                await self._forward_with(kernel)
        except* FastPathError as failures:
            first: Exception = failures
            while isinstance(first, ExceptionGroup):
                first = first.exceptions[0]
            failure = str(first)
        if failure:
            self._turned_off(failure)
            with trio.move_on_after(TRIED_AGAIN_S):
                await self._changed.wait()

    async def _forward_with(self, kernel: KernelForwarding) -> None:
        try:
            async with trio.open_nursery() as nursery:
                if kernel.replaces:
                    await self._offer_all(kernel)
                await nursery.start(kernel.run)
                self._kernel = kernel
                self._tell_whether_it_stays(kernel.why_unpinned)
                nursery.start_soon(self._offer_all, kernel)
                nursery.start_soon(self._tell_changes)
                while True:
                    await self._changed.wait()
                    self._changed = trio.Event()
                    if why_not_wanted(self._config) or not kernel.suits(self._config):
                        break
                    await kernel.follow(self._config)
                nursery.cancel_scope.cancel()
        finally:
            self._kernel = None
            engine_stops = trio.current_effective_deadline() == -math.inf
            if not (engine_stops and kernel.leave()):
                with trio.CancelScope(shield=True):
                    await kernel.give_back()

    def _tell_whether_it_stays(self, why_not: str) -> None:
        if why_not and why_not != self._why_unpinned:
            text = f"the fast path ends with the engine, tunnels are interrupted while it restarts: {why_not}"
            self._events.add("notice", "fast-path-unpinned", text)
        self._why_unpinned = why_not

    async def _tell_changes(self) -> None:
        """Devices come and go, and what can be done with it."""
        while True:
            self._tell(self.mode, self.reason)
            await trio.sleep(TOLD_EVERY_S)

    async def _offer_all(self, kernel: KernelForwarding) -> None:
        """Have the flows looked at that there were before, in the session table and in the kernel."""
        kernel.offer_held()
        flows = [flow for service in self._services.values() for flow in service.flows[Port.NAT_T].values()]
        while flows:
            for flow in flows[:OFFERED_AT_ONCE]:
                kernel.offer(flow)
            del flows[:OFFERED_AT_ONCE]
            await trio.lowlevel.checkpoint()

    def _pins(self) -> Pins | None:
        """Where the fast path outlives this engine."""
        if self._state_dir is None:
            return None
        from engine.fastpath.pins import Pins, instance_name

        return Pins(instance_name(self._state_dir))

    def _protected(self) -> dict[Service, CookieKeys | None]:
        return {service: self._demanding.get(service.name) for service in self._services.values()}

    def _turned_off(self, reason: str) -> None:
        self._why_off = reason
        self._tell(OFF, reason)

    def _tell(self, mode: str, reason: str) -> None:
        """Say once what has changed."""
        if (mode, reason) == self._told:
            return
        self._told = (mode, reason)
        severity = "warning" if reason and not why_not_wanted(self._config) else "notice"
        self._events.add(severity, "fast-path", f"fast path {mode}: {reason}" if reason else f"fast path {mode}")


def left_on(state_dir: Path) -> list[str]:
    """The devices on which the engine with a state directory left its fast path, or has it at this moment."""
    try:
        from engine.fastpath.errors import FastPathError
        from engine.fastpath.pins import Pins, instance_name
    except ImportError:
        return []
    try:
        return Pins(instance_name(state_dir)).devices()
    except FastPathError:
        return []


def take_out(state_dir: Path) -> bool:
    """Take out of the kernel what the engine with a state directory left there; says whether there was anything."""
    try:
        from engine.fastpath.pins import Pins, instance_name
    except ImportError:
        return False
    return Pins(instance_name(state_dir)).drop()


def look_ahead(config: Config) -> Prospects | None:
    """What the fast path would find here, without switching it on; None: it is not installed."""
    try:
        from engine.fastpath import prospects
    except ImportError:
        return None
    return prospects.look_ahead(config)
