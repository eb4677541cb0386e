"""Makes the kernel's flows agree with the session table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import Protocol

from engine.fastpath.entries import Entries, carries_tunnel, entries, is_ready
from engine.fastpath.layout import FlowLayout, flow_value, tick_now
from engine.fastpath.ledger import FROM_CLIENT, FROM_SERVER, Ledger
from engine.fastpath.totals import NoPlace, Totals
from engine.sessions.flow import Flow

INSTALLED_AT_ONCE = 64
"""Flows that become the kernel's in one step: few, for what arrives meanwhile overtakes what the slow path holds."""
REMOVED_AT_ONCE = 512
WAITING_AT_ONCE = 1_000

_COUNTED = Struct("=QII")


class FlowMap(Protocol):
    """A map of the XDP program with the flows of one address family."""

    def lookup(self, key: bytes) -> bytes | None:
        """The value of a key."""
        ...

    def update_batch(self, keys: bytes, values: bytes, count: int) -> int:
        """Write elements in order; returns how many, fewer when there is no room for more."""
        ...

    def delete_batch(self, keys: bytes, count: int) -> int:
        """Remove elements, also when some are not there; returns how many."""
        ...


class Reconciler:
    """Holds what the kernel has against what the session table wants, flow by flow, a bounded number at a time.

    Whoever changes a flow offers it; nothing happens until the next `step`. `refused` counts, by reason, what the
    kernel could not take: such flows stay on the slow path.
    """

    def __init__(self, maps: Mapping[FlowLayout, FlowMap], ledger: Ledger, totals: Totals) -> None:
        self.installed = 0
        self.removed = 0
        self.refused: Counter[str] = Counter()
        self._maps = maps
        self._ledger = ledger
        self._totals = totals
        self._offered: dict[Flow, None] = {}
        self._waiting: dict[Flow, None] = {}
        """Flows that carry a tunnel, but of which one direction was not seen yet, or which were refused."""
        self._held: dict[int, Entries] = {}
        self._owners: dict[bytes, int] = {}
        """Whose each key in the kernel is, by the flow's number."""

    @property
    def behind(self) -> bool:
        """Whether flows were offered that no step has dealt with."""
        return bool(self._offered)

    def offer(self, flow: Flow) -> None:
        """Have a flow looked at: it, its sessions or its source address have changed, or it has ended."""
        self._offered[flow] = None

    def look_at_waiting(self) -> None:
        """Offer some of the flows again that could not be installed before."""
        for flow in list(islice(self._waiting, WAITING_AT_ONCE)):
            del self._waiting[flow]
            self._offered[flow] = None

    def step(self, now_s: float) -> bool:
        """Remove and install a bounded number of flows; says whether more are waiting."""
        gone: list[Flow] = []
        fresh: list[tuple[Flow, Entries]] = []
        while self._offered and len(gone) < REMOVED_AT_ONCE and len(fresh) < INSTALLED_AT_ONCE:
            flow = next(iter(self._offered))
            del self._offered[flow]
            self._waiting.pop(flow, None)
            wanted = self._wanted(flow)
            if flow.fast_number >= 0:
                if wanted == self._held[flow.fast_number]:
                    continue
                gone.append(flow)
            if wanted is not None:
                fresh.append((flow, wanted))
        if gone:
            self._remove(gone, now_s)
        if fresh:
            self._install(fresh)
        return self.behind

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Add to a flow what the kernel has counted by now."""
        if flow.fast_number < 0:
            return
        held = self._held[flow.fast_number]
        now_ticks = tick_now()
        for direction, key in ((FROM_CLIENT, held.from_client), (FROM_SERVER, held.from_server)):
            value = self._maps[held.layout].lookup(key)
            if value is not None:
                size_bytes, packets, last_used = _COUNTED.unpack_from(value)
                self._ledger.credit(
                    2 * flow.fast_number + direction, packets, size_bytes, last_used, now_ticks=now_ticks, now_s=now_s
                )

    def _wanted(self, flow: Flow) -> Entries | None:
        if not carries_tunnel(flow):
            return None
        if flow.fast_number < 0 and not is_ready(flow):
            self._waiting[flow] = None
            return None
        wanted = entries(flow)
        if wanted is None:
            self.refused["addresses"] += 1
        return wanted

    def _remove(self, flows: list[Flow], now_s: float) -> None:
        keys: dict[FlowLayout, list[bytes]] = {}
        for flow in flows:
            self.refresh(flow, now_s)
            held = self._forget(flow)
            keys.setdefault(held.layout, []).extend((held.from_client, held.from_server))
        for layout, gone in keys.items():
            self._maps[layout].delete_batch(b"".join(gone), len(gone))
        self.removed += len(flows)

    def _install(self, wanted: list[tuple[Flow, Entries]]) -> None:
        now_ticks = tick_now()
        batches: dict[FlowLayout, _Batch] = {}
        for flow, new in wanted:
            if new.from_client in self._owners or new.from_server in self._owners:
                # Two services stand for the same client at the same real server: the slow path tells them apart.
                self._refuse(flow, "ambiguous")
                continue
            try:
                place = self._totals.place_of(flow.server)
            except NoPlace:
                self._refuse(flow, "servers")
                continue
            number = flow.fast_number = self._ledger.enter(flow)
            self._held[number] = new
            self._owners[new.from_client] = self._owners[new.from_server] = number
            batch = batches.setdefault(new.layout, _Batch([], [], []))
            batch.flows.append(flow)
            batch.keys.extend((new.from_client, new.from_server))
            for direction, becomes in ((FROM_CLIENT, new.to_server), (FROM_SERVER, new.to_client)):
                batch.values.append(flow_value(becomes, 2 * number + direction, place + direction, now_ticks))
        for layout, batch in batches.items():
            written = self._maps[layout].update_batch(b"".join(batch.keys), b"".join(batch.values), len(batch.keys))
            fitted = written // 2
            self.installed += fitted
            if fitted < len(batch.flows):
                self._take_back(layout, batch.flows[fitted:])

    def _take_back(self, layout: FlowLayout, flows: list[Flow]) -> None:
        """Forget flows for which the kernel has no room, and what it took of them."""
        keys: list[bytes] = []
        for flow in flows:
            held = self._forget(flow)
            keys += (held.from_client, held.from_server)
            self._refuse(flow, "no-room")
        self._maps[layout].delete_batch(b"".join(keys), len(keys))

    def _forget(self, flow: Flow) -> Entries:
        held = self._held.pop(flow.fast_number)
        del self._owners[held.from_client], self._owners[held.from_server]
        self._ledger.leave(flow.fast_number)
        flow.fast_number = -1
        flow.change_path(fast=False)
        return held

    def _refuse(self, flow: Flow, reason: str) -> None:
        self.refused[reason] += 1
        self._waiting[flow] = None


@dataclass(frozen=True, slots=True)
class _Batch:
    flows: list[Flow]
    keys: list[bytes]
    values: list[bytes]
