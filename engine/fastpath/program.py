"""The XDP program in the kernel, and its maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from engine.fastpath.bpf import Map, Object, Program
from engine.fastpath.layout import CONTROL, EGRESS, FLOW_V4, FLOW_V6, NO_VLAN, FlowLayout, Reason

OBJECT = Path(__file__).with_name("forward.bpf.o")
ENTRIES_PER_SESSION = 4
"""Two directions, and as much again for clients that move: an old flow stays until it is idle."""

_KEY_BYTES = 4


class ForwardingProgram:
    """Loaded, but attached to no device; closing it takes program and maps away."""

    def __init__(self, max_sessions: int, path: Path = OBJECT) -> None:
        """Load program and maps.

        Raises:
            BpfError: libbpf, a privilege or a feature of the kernel is missing.
        """
        self._object = Object.open(path)
        try:
            for name in ("flows_v4", "flows_v6"):
                self._object.resize(name, max_sessions * ENTRIES_PER_SESSION)
            self._object.load()
            self.program: Program = self._object.program("forward")
            self.flows: Mapping[FlowLayout, Map] = {
                FLOW_V4: self._object.map("flows_v4"),
                FLOW_V6: self._object.map("flows_v6"),
            }
            self._ports = self._object.map("ports")
            self._egresses = self._object.map("egresses")
            self._reasons = self._object.map("reasons")
            self._totals = self._object.map("totals")
            self._control = self._object.map("controls").mmap()
            self._generation = 0
            self.look_again()
        except BaseException:
            self._object.close()
            raise

    def close(self) -> None:
        """Take program and maps away."""
        self._control.close()
        self._object.close()

    def look_again(self) -> None:
        """Have every flow's next hop looked up again with its next packet."""
        self._generation = self._generation % 0xFFFF + 1
        CONTROL.pack_into(self._control, 0, self._generation)

    def read_total(self, place: int) -> list[bytes]:
        """One place of `totals`, for each CPU."""
        return self._totals.lookup_each_cpu(_key(place))

    def passed_up(self) -> Counter[Reason]:
        """Packets passed up or dropped since the program was loaded, by reason."""
        counted: Counter[Reason] = Counter()
        for reason in Reason:
            each = self._reasons.lookup_each_cpu(_key(reason))
            counted[reason] = sum(int.from_bytes(value, "little") for value in each)
        return counted

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
