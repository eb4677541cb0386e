"""The XDP program in the kernel, and its maps."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from engine.fastpath.bpf import Object, Program
from engine.fastpath.flow_table import FlowTable
from engine.fastpath.layout import CONTROL, EGRESS, FLOW_V4, FLOW_V6, NO_VLAN, PROBES, FlowLayout, Reason

OBJECT = Path(__file__).with_name("forward.bpf.o")
SLOTS_PER_SESSION = 4
"""Two directions, and as much room: a table that is full by half turns one flow in a thousand away."""
NO_FLOWS = 1

_TABLES = {FLOW_V4: "flows_v4", FLOW_V6: "flows_v6"}
_KEY_BYTES = 4
_GENERATIONS = 0xFF


class ForwardingProgram:
    """Loaded, but attached to no device; closing it takes program and maps away."""

    def __init__(self, max_sessions: int, families: Collection[FlowLayout] = (FLOW_V4, FLOW_V6)) -> None:
        """Load program and maps, with room for the flows of some address families.

        Raises:
            BpfError: libbpf, a privilege or a feature of the kernel is missing.
        """
        enough = 1 << (max_sessions * SLOTS_PER_SESSION - 1).bit_length()
        slots = {layout: enough if layout in families else NO_FLOWS for layout in (FLOW_V4, FLOW_V6)}
        self._object = Object.open(OBJECT)
        try:
            for layout, name in _TABLES.items():
                self._object.resize(name, slots[layout] + PROBES)
            self._object.load()
            self.program: Program = self._object.program("forward")
            self._ports = self._object.map("ports")
            self._egresses = self._object.map("egresses")
            self._reasons = self._object.map("reasons")
            self._totals = self._object.map("totals")
            self._shields = self._object.map("shields")
            self._tallies = self._object.map("tallies")
            self._control = self._object.map("controls").mmap()
            self._memory = {layout: self._object.map(name).mmap() for layout, name in _TABLES.items()}
        except BaseException:
            self._object.close()
            raise
        # Secret, and the multiplier odd, so that nobody outside can make tuples that collide.
        self._seeds = secrets.randbits(64), secrets.randbits(64) | 1
        self._masks = slots[FLOW_V4] - 1, slots[FLOW_V6] - 1
        self._generation = 0
        self.flows: Mapping[FlowLayout, FlowTable] = {
            layout: FlowTable(layout, memoryview(self._memory[layout]), slots[layout], self._seeds) for layout in slots
        }
        self.look_again()

    def close(self) -> None:
        """Take program and maps away."""
        for table in self.flows.values():
            table.close()
        for memory in (*self._memory.values(), self._control):
            memory.close()
        self._object.close()

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


def _key(number: int) -> bytes:
    return number.to_bytes(_KEY_BYTES, "little")
