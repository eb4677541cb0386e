"""The XDP program in the kernel, and its maps."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from engine.fastpath.bpf import Object, Program
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import (
    CONTROL,
    EGRESS,
    FLOW_V4,
    FLOW_V6,
    MAX_PORTS,
    NO_VLAN,
    PROBES,
    FlowLayout,
    Reason,
)
from engine.fastpath.pins import PinnedObject

OBJECT = Path(__file__).with_name("forward.bpf.o")
SLOTS_PER_SESSION = 4
"""Two directions, and as much room: a table that is full by half turns one flow in a thousand away."""
NO_FLOWS = 1

_TABLES = {FLOW_V4: "flows_v4", FLOW_V6: "flows_v6"}
_OTHER_MAPS = ("ports", "egresses", "controls", "reasons", "totals", "shields", "tallies")
_PROGRAM = "forward"
_KEY_BYTES = 4
_GENERATIONS = 0xFF


class TooSmall(Exception):
    """An earlier engine's tables have no room for as many flows as there may be now."""


class ForwardingProgram:
    """In the kernel, but attached to no device; closing it takes program and maps away, unless they are pinned."""

    def __init__(
        self,
        max_sessions: int,
        families: Collection[FlowLayout] = (FLOW_V4, FLOW_V6),
        found: PinnedObject | None = None,
    ) -> None:
        """Load program and maps, with room for the flows of some address families, or take those that were found.

        Raises:
            BpfError: libbpf, a privilege or a feature of the kernel is missing.
            TooSmall: what was found has no room for so many flows.
        """
        self.found = found is not None
        self._object = found or _load(max_sessions, families)
        try:
            maps = self._maps = {name: self._object.map(name) for name in (*_TABLES.values(), *_OTHER_MAPS)}
            slots = {layout: maps[name].max_entries - PROBES for layout, name in _TABLES.items()}
            if any(slots[layout] < slots_for(max_sessions) for layout in families):
                raise TooSmall
            self.program: Program = self._object.program(_PROGRAM)
            self._ports, self._egresses, self._shields = maps["ports"], maps["egresses"], maps["shields"]
            self._reasons, self._totals, self._tallies = maps["reasons"], maps["totals"], maps["tallies"]
            self._control = maps["controls"].mmap()
            self._memory = {layout: maps[name].mmap() for layout, name in _TABLES.items()}
        except BaseException:
            self._object.close()
            raise
        if self.found:
            *seeds, mask_v4, mask_v6, self._generation = CONTROL.unpack_from(self._control)
            self._seeds, self._masks = (seeds[0], seeds[1]), (mask_v4, mask_v6)
        else:
            # Secret, and the multiplier odd, so that nobody outside can make tuples that collide.
            self._seeds = secrets.randbits(64), secrets.randbits(64) | 1
            self._masks = slots[FLOW_V4] - 1, slots[FLOW_V6] - 1
            self._generation = 0
        self.flows: Mapping[FlowLayout, FlowTable] = {
            layout: FlowTable(layout, memoryview(self._memory[layout]), slots[layout], self._seeds) for layout in slots
        }
        if not self.found:
            self.look_again()

    def close(self) -> None:
        """Take program and maps away."""
        for table in self.flows.values():
            table.close()
        for memory in (*self._memory.values(), self._control):
            memory.close()
        self._object.close()

    def parts(self) -> dict[str, int]:
        """The descriptors of program and maps, by the names under which they are pinned and found."""
        return {_PROGRAM: self.program.fd, **{name: one.fd for name, one in self._maps.items()}}

    def open_ports(self) -> dict[int, int]:
        """The ports by which frames leave, by the index of their devices: those that an earlier engine opened."""
        values = ((port, self._ports.lookup(_key(port))) for port in range(MAX_PORTS))
        return {int.from_bytes(value[:4], "little"): port for port, value in values if value is not None}

    def clear_shields(self) -> None:
        """Protect nothing for the moment: what an earlier engine knew of newcomers does not hold any more."""
        for end in self._shields.list_keys():
            self._shields.delete(end)

    def open_egresses(self) -> dict[int, tuple[int, int | None]]:
        """Port and VLAN by the index of the device that the routing table names, as an earlier engine set them."""
        found = {key: self._egresses.lookup(key) for key in self._egresses.list_keys()}
        ways = {key: EGRESS.unpack(value) for key, value in found.items() if value is not None}
        return {
            int.from_bytes(key, "little"): (port, None if vlan == NO_VLAN else vlan)
            for key, (port, vlan) in ways.items()
        }

    def look_again(self) -> None:
        """Have every flow's next hop looked up again with its next packet."""
        # The lowest byte is part of an epoch, and no flow begins in epoch 0.
        self._generation = self._generation % _GENERATIONS + 1
        CONTROL.pack_into(self._control, 0, *self._seeds, *self._masks, self._generation)

    def read_total(self, place: int) -> list[bytes]:
        """One place of `totals`, for each CPU."""
        return self._totals.lookup_each_cpu(_key(place))

    def passed_up(self) -> Counter[Reason]:
        """Packets passed up, answered or dropped since the program was loaded, by reason."""
        counted: Counter[Reason] = Counter()
        for reason in Reason:
            each = self._reasons.lookup_each_cpu(_key(reason))
            counted[reason] = sum(int.from_bytes(value, "little") for value in each)
        return counted

    def set_shield(self, end: bytes, shield: bytes) -> None:
        """Protect one end of a service (SERVICE_END, SHIELD), in this way from now on."""
        self._shields.update(end, shield)

    def remove_shield(self, end: bytes) -> None:
        """Pass up whatever comes to an end that was protected."""
        self._shields.delete(end)

    def read_tally(self, place: int) -> list[bytes]:
        """One place of `tallies`, for each CPU."""
        return self._tallies.lookup_each_cpu(_key(place))

    def set_port(self, port: int, index: int | None) -> None:
        """Let frames leave by a device through a port, or by none."""
        if index is None:
            self._ports.delete(_key(port))
        else:
            # struct bpf_devmap_val: the device, and no second program.
            self._ports.update(_key(port), index.to_bytes(4, "little") + bytes(4))

    def set_egress(self, index: int, port: int, vlan: int | None) -> None:
        """Where frames go for which the routing table names a device."""
        self._egresses.update(_key(index), EGRESS.pack(port, NO_VLAN if vlan is None else vlan))

    def remove_egress(self, index: int) -> None:
        """Leave frames to the slow path for which the routing table names a device."""
        self._egresses.delete(_key(index))


def slots_for(max_sessions: int) -> int:
    """How many slots a table of flows has that so many sessions need."""
    return 1 << (max_sessions * SLOTS_PER_SESSION - 1).bit_length()


def _load(max_sessions: int, families: Collection[FlowLayout]) -> Object:
    """Program and maps, fresh in the kernel; raises BpfError."""
    fresh = Object.open(OBJECT)
    try:
        for layout, name in _TABLES.items():
            fresh.resize(name, (slots_for(max_sessions) if layout in families else NO_FLOWS) + PROBES)
        fresh.load()
    except BaseException:
        fresh.close()
        raise
    return fresh


def _key(number: int) -> bytes:
    return number.to_bytes(_KEY_BYTES, "little")
