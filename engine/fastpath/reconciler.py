"""Makes the kernel's flows agree with the session table."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from engine.fastpath.entries import Entries, entries, has_lost_port, has_tunnel
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.found import FoundFlow
from engine.fastpath.kernel_flow import KernelFlow
from engine.fastpath.layout import FlowLayout, tick_now
from engine.fastpath.totals import NoPlace, Totals
from engine.sessions.fast_path import Carried
from engine.sessions.flow import Flow
from engine.sessions.real_server import RealServer

CHANGED_AT_ONCE = 64
"""Flows that change paths in one step: few, for what arrives meanwhile overtakes what the slow path still holds."""
LOOKED_AT_ONCE = 500
WAITING_AT_ONCE = 1_000
HEARD_AT_ONCE = 50
"""Tunnels whose first ESP is noticed in one turn: in a storm most wait for a second, when all counters are read."""
CREDITED_AT_ONCE = 500
"""Flows whose counters are read in one turn: less than a millisecond."""


class Reconciler:
    """Holds what the kernel has against what the session table wants, flow by flow, a bounded number at a time.

    Whoever changes a flow offers it; nothing happens until the next `step`. `refused` is how many flows stay on the
    slow path because the kernel cannot take them, by reason.
    """

    def __init__(
        self,
        tables: Mapping[FlowLayout, FlowTable],
        totals: Totals,
        carried: Carried = lambda flow, now_s: None,
    ) -> None:
        """`carried` is told of flows that the kernel has forwarded ESP of while a session is being set up on them."""
        self.refused: Counter[str] = Counter()
        self.beginning: list[Flow] = []
        """Offered flows on which no ESP can have come yet."""
        self._carried = carried
        self._tables = tables
        self._totals = totals
        self._offered: OrderedDict[Flow, None] = OrderedDict()
        self._waiting: dict[Flow, str] = {}
        """Flows that carry a tunnel but were refused, and why; empty: they lack an answer or a source yet, or
        carry what seems to be another flow's."""
        self._held: dict[Flow, KernelFlow] = {}
        self._taken: dict[bytes, KernelFlow] = {}
        """The flows by the tuples that lead to them."""
        self._unheard: deque[KernelFlow] = deque()
        """Flows on which a session is being set up: their first ESP shows that it is."""

    def __len__(self) -> int:
        """How many flows the kernel has."""
        return len(self._held)

    @property
    def behind(self) -> bool:
        """Whether flows were offered that no step has dealt with."""
        return bool(self._offered or self.beginning)

    @property
    def complete(self) -> bool:
        """Whether the kernel has every flow that carries a tunnel, as far as is known."""
        return not self.behind and not self._waiting

    def offer(self, flow: Flow) -> None:
        """Have a flow looked at: it, its sessions or its source address have changed, or it has ended."""
        held = self._held.get(flow)
        if has_tunnel(flow):
            if held is not None and held.source == flow.source and flow.server.keeps_sessions:
                # Its tunnel is up now, say: what the kernel has of it is the same.
                return
            if held is None and flow.owner is not None and flow.owner.half_open:
                self.beginning.append(flow)
                return
        elif held is None and flow not in self._waiting:
            # Nothing is to be done yet about flows on which a session is being set up.
            return
        self._offered[flow] = None

    def begin(self, now_s: float) -> None:
        """Give flows to the kernel before their first ESP can come; those that are very many have to wait."""
        flows, self.beginning = self.beginning, []
        for flow in flows[:CHANGED_AT_ONCE]:
            self._look_at(flow, now_s)
        for flow in flows[CHANGED_AT_ONCE:]:
            self._offered[flow] = None

    def offer_held(self) -> None:
        """Have every flow looked at that the kernel has: it may have changed when nobody offered it."""
        self._offered.update(dict.fromkeys(self._held))

    def adopt(self, flow: Flow, found: FoundFlow, now_s: float) -> None:
        """Go on with what the kernel has of a flow since an earlier engine, if it is what this one wants."""
        wanted = self._wanted(flow)
        keys = found.entries.from_client, found.entries.from_server
        free = flow not in self._held and self._taken.keys().isdisjoint(keys)
        if wanted != found.entries or not free or not self._totals.keep(flow.server, found.total):
            self.discard(found)
            self.offer(flow)
            return
        held = KernelFlow(flow, found.table, found.from_client, found.from_server)
        held.go_on()
        self._held[flow] = self._taken[keys[0]] = self._taken[keys[1]] = held
        # Its latest ESP may be of SPIs that nobody saved, and for as long as no more comes it is not read again.
        self._read(held, tick_now(), now_s)

    def discard(self, found: FoundFlow) -> None:
        """Take from the kernel what it has of nobody's flow."""
        for slot in (found.from_client, found.from_server):
            found.table.remove(slot)

    def look_at_waiting(self) -> None:
        """Offer some of the flows again that the kernel could not have before."""
        for flow in islice(self._waiting, WAITING_AT_ONCE):
            self._offered[flow] = None

    def step(self, now_s: float) -> bool:
        """Give flows to the kernel and take some from it, a bounded number; says whether more are waiting."""
        self._offered.update(dict.fromkeys(self.beginning))
        self.beginning.clear()
        changed = 0
        for _ in range(min(LOOKED_AT_ONCE, len(self._offered))):
            if changed >= CHANGED_AT_ONCE:
                break
            flow, _ = self._offered.popitem(last=False)
            changed += self._look_at(flow, now_s)
        return self.behind

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Add to a flow what the kernel has counted by now."""
        if held := self._held.get(flow):
            self._read(held, tick_now(), now_s)

    def credit_all(self, clock: Callable[[], float]) -> Iterator[int]:
        """Add to every flow what the kernel has counted, some of them each turn; yields how many those were."""
        everything = iter(list(self._held.values()))
        while some := list(islice(everything, CREDITED_AT_ONCE)):
            now_ticks, now_s = tick_now(), clock()
            for held in some:
                if held.has_news() and self._has(held):
                    self._read(held, now_ticks, now_s)
            yield len(some)

    def listen(self, now_s: float) -> None:
        """Read counters of flows on which a session is being set up, a bounded number: it counts in full once it is."""
        now_ticks, heard = tick_now(), 0
        for _ in range(min(len(self._unheard), LOOKED_AT_ONCE)):
            if heard == HEARD_AT_ONCE:
                break
            held = self._unheard.popleft()
            if self._is_beginning(held) and held.has_news():
                self._read(held, now_ticks, now_s)
                heard += 1
            if self._is_beginning(held):
                self._unheard.append(held)

    def abandon(self, server: RealServer, now_s: float) -> Iterator[int]:
        """Leave a real server's flows to the slow path, some of them each turn; yields how many those were."""
        return self._take_back_all([held for flow, held in self._held.items() if flow.server is server], now_s)

    def give_back(self, now_s: float) -> Iterator[int]:
        """Leave every flow to the slow path, some of them each turn; yields how many those were."""
        self.beginning.clear()
        self._offered.clear()
        self._waiting.clear()
        return self._take_back_all(list(self._held.values()), now_s)

    def _take_back_all(self, everything: list[KernelFlow], now_s: float) -> Iterator[int]:
        for at in range(0, len(everything), CREDITED_AT_ONCE):
            some = everything[at : at + CREDITED_AT_ONCE]
            for held in some:
                if self._has(held):
                    self._take_back(held, now_s)
            yield len(some)

    def _has(self, held: KernelFlow) -> bool:
        """Whether a flow still is where it was: its slots may be another's after a turn."""
        return self._held.get(held.flow) is held

    def _is_beginning(self, held: KernelFlow) -> bool:
        """Whether a session is being set up on a flow that the kernel has."""
        return held.flow.owner is not None and held.flow.owner.half_open and self._has(held)

    def _read(self, held: KernelFlow, now_ticks: int, now_s: float) -> None:
        """Add to a flow what the kernel has counted, and leave it to the slow path if that is of another tunnel."""
        if not self._credit(held, now_ticks, now_s):
            # A NAT may have given the address and port to another client: the slow path looks, and decides.
            self._take_back(held, now_s)
            self._waiting[held.flow] = ""

    def _credit(self, held: KernelFlow, now_ticks: int, now_s: float) -> bool:
        """Add to a flow what the kernel has counted; False: its latest ESP is another tunnel's."""
        owner = held.flow.owner
        if owner is None or not owner.half_open:
            return held.credit(now_ticks, now_s)
        # What was counted earlier says nothing: EAP may be going on since.
        has_news = held.has_news()
        is_its_own = held.credit(now_ticks, now_s)
        if is_its_own and has_news:
            self._carried(held.flow, now_s)
        return is_its_own

    def _look_at(self, flow: Flow, now_s: float) -> int:
        """Give an offered flow to the kernel or take it from there, where that is due; returns how many changes."""
        if refusal := self._waiting.pop(flow, ""):
            self.refused[refusal] -= 1
        changed = 0
        held = self._held.get(flow)
        wanted = self._wanted(flow)
        if held is not None:
            if wanted is not None and held.has_entries(wanted):
                return 0
            self._take_back(held, now_s)
            changed += 1
        if wanted is not None:
            self._hand_over(flow, wanted, now_s)
            changed += 1
        return changed

    def _wanted(self, flow: Flow) -> Entries | None:
        if not has_tunnel(flow) or not flow.server.keeps_sessions:
            return None
        if not flow.proven or flow.source is None or flow.listener is None:
            # Its real server has yet to show its client to be there, or it lacks a source or a way back to its client.
            self._waiting[flow] = ""
            return None
        wanted = entries(flow)
        if wanted is None:
            self._refuse(flow, "addresses")
        return wanted

    def _take_back(self, held: KernelFlow, now_s: float) -> None:
        for slot in (held.from_client, held.from_server):
            comes, _, _ = held.table.read(slot)
            held.table.remove(slot)
            del self._taken[comes]
        self._credit(held, tick_now(), now_s)
        held.flow.change_path(fast=False)
        del self._held[held.flow]

    def _hand_over(self, flow: Flow, wanted: Entries, now_s: float) -> None:
        taken, from_client, from_server = self._taken, wanted.from_client, wanted.from_server
        if (from_client in taken or from_server in taken) and not self._make_way(wanted, now_s):
            self._refuse(flow, "ambiguous")
            return
        try:
            total = self._totals.place_of(flow.server)
        except NoPlace:
            self._refuse(flow, "servers")
            return
        table, now_ticks = self._tables[wanted.layout], tick_now()
        inward = table.insert(from_client, wanted.to_server, total, now_ticks)
        outward = table.insert(from_server, wanted.to_client, total + 1, now_ticks)
        if inward is None or outward is None:
            for slot in (inward, outward):
                if slot is not None:
                    table.remove(slot)
            self._refuse(flow, "no-room")
            return
        held = self._held[flow] = KernelFlow(flow, table, inward, outward)
        taken[from_client] = taken[from_server] = held
        if self._is_beginning(held):
            self._unheard.append(held)

    def _make_way(self, wanted: Entries, now_s: float) -> bool:
        """Take flows back that are not where a new one is to be; False: one of them is there.

        Two services may stand for the same client at the same real server: the slow path tells them apart.
        """
        for key in (wanted.from_client, wanted.from_server):
            if other := self._taken.get(key):
                if not has_lost_port(other.flow):
                    return False
                self._take_back(other, now_s)
        return True

    def _refuse(self, flow: Flow, reason: str) -> None:
        self.refused[reason] += 1
        self._waiting[flow] = reason
