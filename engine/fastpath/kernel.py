"""The fast path at work: the program on its devices, kept in step with sessions, devices and routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import trio

from engine.config.schema import Config
from engine.fastpath.attachments import Attachment, Attachments
from engine.fastpath.bpf import BpfError, XdpMode
from engine.fastpath.devices import Egresses, can_answer, wanted_devices, without_forwarding
from engine.fastpath.found import FoundFlow, describe_all, found_flows
from engine.fastpath.interfaces import Interface, list_interfaces, route_to
from engine.fastpath.layout import FLOW_V4, FLOW_V6, KEPT_OFF, FlowLayout, Reason, ShieldFlag
from engine.fastpath.netlink import NetlinkError
from engine.fastpath.netlink_watch import Change, NetlinkWatch
from engine.fastpath.pins import Pins, digest_of
from engine.fastpath.program import OBJECT, ForwardingProgram, TooSmall
from engine.fastpath.reconciler import Reconciler
from engine.fastpath.shields import Shields
from engine.fastpath.totals import Totals
from engine.sessions.fast_path import Carried, Forwarded
from engine.sessions.flow import Flow
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.wire.cookie import CookieKeys

RECONCILE_EVERY_S = 0.1
COUNT_EVERY_S = 1.0
READ_PER_S = 10_000
"""Flows whose counters are read in a second, if there are so many: a few hundredths of a core."""
VERIFY_EVERY_S = 10.0
FOLLOW_EVERY_S = 0.25
"""However fast routes and devices flap."""
COMPLETE_FOR_S = 10.0
"""So long the kernel must have had all tunnels before it takes what it does not know for garbage: after a start of the
engine the slow path has yet to hear from them."""


class KernelForwarding:
    """Forwards flows in the kernel while it is open."""

    def __init__(
        self,
        config: Config,
        services: Callable[[], Mapping[Service, CookieKeys | None]],
        pins: Pins | None = None,
        carried: Carried = lambda flow, now_s: None,
    ) -> None:
        """Load the program, or take over what an earlier engine pinned; a new one forwards nothing before `run`.

        `services` are those in force, each with the keys of the cookies that it demands of newcomers, or None.
        `pins` are where all of it outlives this engine; without them nothing does. `carried` is told of ESP that
        shows a session to be set up.

        Raises:
            BpfError: libbpf, a privilege or a feature of the kernel is missing.
        """
        self.attachments: tuple[Attachment, ...] = ()
        self.passed_up: Counter[Reason] = Counter()
        self.kept_off: Counter[Reason] = Counter()
        self.forwarded = 0
        self.interfaces: dict[int, Interface] = {}
        self._config = self._made_for = config
        self._services = services
        self._one_at_a_time = trio.Lock()
        self._pins = pins
        self.why_unpinned = ""
        """Why the fast path ends with this engine although it should not."""
        self._why_behind = ""
        """Why devices and routes are not followed at the moment: what the kernel has goes on meanwhile."""
        self._program = self._find_or_load()
        self._attached = Attachments(self._program.program, config.engine.fast_path, self._pins)
        self._egresses = Egresses(self._program)
        self._totals = Totals(self._program.read_total)
        self._reconciler = Reconciler(self._program.flows, self._totals, carried)
        self._shields = Shields(self._program)
        self._leaves = False
        self.replaces = False
        """Whether devices still have an earlier engine's program, whose tables this one cannot read."""
        if self._program.found:
            self._attached.take_over()
            self._egresses.take_over()
            self._program.clear_shields()
        elif self._pins is not None:
            self.replaces = any(True for _ in self._pins.links())
        self._can_answer = False
        self._challenge_changed = trio.Event()
        self.offer = self._reconciler.offer
        """Have a flow looked at."""

    def __enter__(self) -> KernelForwarding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything out of the kernel, or leave it there after `leave`."""
        if self._leaves:
            self._attached.leave()
        else:
            self._attached.close()
            if self._pins is not None:
                self._pins.drop()
        self._program.close()

    def found(self) -> list[Forwarded]:
        """The flows that an earlier engine left in the kernel."""
        tables = self._program.flows.values() if self._program.found else ()
        return [flow for table in tables for flow in describe_all(found_flows(table))]

    def adopt(self, flow: Flow, forwarded: Forwarded) -> None:
        """Go on with what the kernel has of a flow."""
        assert isinstance(forwarded.found, FoundFlow)
        self._reconciler.adopt(flow, forwarded.found, trio.current_time())

    def discard(self, forwarded: Forwarded) -> None:
        """Take from the kernel what it has of nobody's flow."""
        assert isinstance(forwarded.found, FoundFlow)
        self._reconciler.discard(forwarded.found)

    def leave(self) -> bool:
        """Have the kernel go on when this is closed; False: it cannot."""
        self._leaves = self._pins is not None
        if self._leaves:
            # Who demands cookies must also look at them.
            self._program.clear_shields()
        return self._leaves

    @property
    def mode(self) -> str:
        """native where any device has the program so, else generic, else off."""
        modes = {attachment.mode for attachment in self.attachments}
        return next((str(mode) for mode in (XdpMode.NATIVE, XdpMode.GENERIC) if mode in modes), "off")

    @property
    def reason(self) -> str:
        """What is not as wanted, and what to do; empty where all is well."""
        if not self.attachments:
            return "no Ethernet device leads to the services or their real servers"
        told = [attachment.reason for attachment in self.attachments if attachment.reason]
        told += without_forwarding(self._config, self.attachments, self.interfaces)
        if self._why_behind:
            told.append(f"changes of devices and routes are not followed: {self._why_behind}")
        return "; ".join(dict.fromkeys(told))

    @property
    def flow_count(self) -> int:
        """How many flows the kernel has."""
        return len(self._reconciler)

    @property
    def refused(self) -> Counter[str]:
        """Flows that the kernel could not take, by reason."""
        return self._reconciler.refused

    def suits(self, config: Config) -> bool:
        """Whether it can serve a configuration without being started anew."""
        before, after = self._made_for.engine, config.engine
        return (
            before.fast_path is after.fast_path
            and after.max_sessions <= before.max_sessions
            and _families(config) <= _families(self._made_for)
        )

    async def follow(self, config: Config) -> None:
        """Put the program on the devices that a configuration needs it on."""
        self._config = config
        await self._keep_up()

    def offer_held(self) -> None:
        """Have every flow looked at that the kernel has."""
        self._reconciler.offer_held()

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Add to a flow what the kernel has counted by now."""
        self._reconciler.refresh(flow, now_s)

    def count(self, server: RealServer) -> None:
        """Add to a real server's counters what the kernel has counted by now."""
        self.forwarded += self._totals.count(server)

    def abandon(self, server: RealServer, now_s: float) -> Iterator[int]:
        """Leave a real server's flows to the slow path, some of them each turn; yields how many those were."""
        return self._reconciler.abandon(server, now_s)

    def challenge_changed(self) -> None:
        """Other services demand cookies than before, or with other keys."""
        self._challenge_changed.set()

    def tunnels_begin(self, now_s: float) -> None:
        """Install flows whose first ESP is yet to come."""
        if self._reconciler.beginning:
            self._reconciler.begin(now_s)

    def at_rest(self, now_s: float) -> None:
        """Install and remove flows while the slow path holds no datagrams."""
        if self._reconciler.behind:
            self._reconciler.step(now_s)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the kernel in step until cancelled; it forwards from when this has started.

        Raises:
            FastPathError: the kernel cannot be asked any more.
        """
        with NetlinkWatch() as watch:
            if self.replaces:
                # Not before the new tables have what the old ones have: then no packet misses.
                while self._reconciler.step(trio.current_time()):
                    await trio.lowlevel.checkpoint()
            await self._follow_devices()
            if self._pins is not None:
                self._pins.drop_others(digest_of(OBJECT))
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reconcile)
                nursery.start_soon(self._count)
                nursery.start_soon(self._protect)
                nursery.start_soon(self._credit)
                nursery.start_soon(self._follow_netlink, watch)
                nursery.start_soon(self._verify_neighbours, watch)

    async def give_back(self) -> None:
        """Leave every flow to the slow path, with all that was counted; what is offered meanwhile stays there."""
        self._attached.close()
        for _ in self._reconciler.give_back(trio.current_time()):
            await trio.lowlevel.checkpoint()
        self._totals.collect(())
        self._shields.collect()

    async def _reconcile(self) -> None:
        # While the forwarder is busy without a pause, it never is at rest: flows then change paths all the same.
        while True:
            await trio.sleep(RECONCILE_EVERY_S)
            while self._reconciler.step(trio.current_time()):
                await trio.lowlevel.checkpoint()
            self._reconciler.listen(trio.current_time())

    async def _count(self) -> None:
        while True:
            await trio.sleep(COUNT_EVERY_S)
            self.forwarded += self._totals.collect(self._servers())
            counted = self._program.passed_up()
            self.kept_off = Counter({reason: counted.pop(reason) for reason in KEPT_OFF})
            self.passed_up = counted
            self._reconciler.look_at_waiting()

    async def _protect(self) -> None:
        incomplete_s = trio.current_time()
        while True:
            self._challenge_changed = trio.Event()
            if not self._reconciler.complete:
                incomplete_s = trio.current_time()
            flags = ShieldFlag.ANSWERS if self._can_answer else ShieldFlag(0)
            if trio.current_time() - incomplete_s >= COMPLETE_FOR_S:
                flags |= ShieldFlag.LIMITS
            self._shields.follow(self._services(), flags)
            with trio.move_on_after(COUNT_EVERY_S):
                await self._challenge_changed.wait()

    async def _credit(self) -> None:
        while True:
            await trio.sleep(COUNT_EVERY_S)
            for flows in self._reconciler.credit_all(trio.current_time):
                await trio.sleep(flows / READ_PER_S)

    async def _follow_netlink(self, watch: NetlinkWatch) -> None:
        while True:
            changed = await watch.changed()
            self._program.look_again()
            if changed != {Change.NEIGHBOURS}:
                await self._keep_up()
                await trio.sleep(FOLLOW_EVERY_S)

    async def _verify_neighbours(self, watch: NetlinkWatch) -> None:
        while True:
            await trio.sleep(VERIFY_EVERY_S)
            if self._why_behind:
                await self._keep_up()
            try:
                watch.keep_in_use(self.interfaces.values())
            except NetlinkError as error:
                self._why_behind = str(error)

    async def _keep_up(self) -> None:
        """Follow devices, or where the kernel cannot be asked, for want of files say, try it again later."""
        try:
            await self._follow_devices()
        except NetlinkError as error:
            self._why_behind = str(error)
        else:
            self._why_behind = ""

    async def _follow_devices(self) -> None:
        async with self._one_at_a_time:
            # Some drivers stop and start a network card to attach a program.
            await trio.to_thread.run_sync(self._attach)
        self._program.look_again()

    def _servers(self) -> Iterator[RealServer]:
        return (server for service in self._services() for server in service.servers.values())

    def _find_or_load(self) -> ForwardingProgram:
        """The program that an earlier engine pinned, if it is the same and has room for all flows; else a new one."""
        room = self._config.engine.max_sessions, _families(self._config)
        if self._pins is None:
            return ForwardingProgram(*room)
        digest = digest_of(OBJECT)
        try:
            self._pins.begin()
            if found := self._pins.find(digest):
                return ForwardingProgram(*room, found)
        except (TooSmall, BpfError):
            # What cannot be taken over, the new one replaces; where nothing can be pinned at all, `keep` says why.
            pass
        program = ForwardingProgram(*room)
        try:
            self._pins.keep(digest, program.parts())
        except BpfError as error:
            self.why_unpinned = str(error)
            self._pins.drop()
            self._pins = None
        return program

    def _attach(self) -> None:
        if self.replaces:
            self.replaces = False
            self._attached.take_over()
        self.interfaces = list_interfaces()
        wanted = wanted_devices(self._config, self.interfaces, route_to)
        self.attachments = self._attached.follow(wanted)
        self._can_answer = can_answer(self.attachments, self.interfaces)
        self._egresses.follow(
            (attachment.index for attachment in self.attachments if attachment.egress), self.interfaces
        )


def _families(config: Config) -> set[FlowLayout]:
    return {FLOW_V6 if service.address.version == 6 else FLOW_V4 for service in config.services}
