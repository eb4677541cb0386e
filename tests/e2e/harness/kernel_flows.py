"""What the engine's XDP program holds, read from the kernel by the numbers of the engine's maps."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from engine.fastpath.layout import FLOW_V4, FLOW_V6, STATE_AT, FlowLayout, State

_LAYOUTS = {layout.flow_bytes: layout for layout in (FLOW_V4, FLOW_V6)}
_ARRAY = 2


@dataclass(frozen=True, slots=True)
class KernelFlow:
    """One direction of a flow: the addresses that its packets come from and are sent to."""

    source: str
    destination: str


def kernel_flows(pid: int) -> list[KernelFlow]:
    """All that the program of a process forwards."""
    described = [_described(file) for file in Path("/proc", str(pid), "fdinfo").iterdir()]
    maps = {one["map_id"]: one for one in described if "map_id" in one}
    return [flow for one in maps.values() for flow in _flows(one)]


def _described(file: Path) -> dict[str, int]:
    """The numbers that the kernel tells about an open file; none when it has been closed."""
    try:
        return {name: int(value) for name, value in re.findall(r"^(\w+):\s*(\d+)$", file.read_text(), re.MULTILINE)}
    except FileNotFoundError:
        return {}


def _flows(described: dict[str, int]) -> Iterator[KernelFlow]:
    layout = _LAYOUTS.get(described["value_size"])
    if layout is None or described["map_type"] != _ARRAY:
        return
    fd = ctypes.CDLL("libbpf.so.1").bpf_map_get_fd_by_id(described["map_id"])
    if fd < 0:  # closed meanwhile
        return
    size_bytes = layout.flow_bytes * described["max_entries"]
    try:
        with closing(mmap.mmap(fd, size_bytes, prot=mmap.PROT_READ)) as memory:
            slots = memory[:size_bytes]
    finally:
        os.close(fd)
    for at in range(0, size_bytes, layout.flow_bytes):
        if slots[at + layout.track_at + STATE_AT] == State.LIVE:
            yield _flow(slots[at : at + layout.flow_bytes], layout)


def _flow(slot: bytes, layout: FlowLayout) -> KernelFlow:
    """A slot has the tuple that packets come with, then the one that they get; each begins with its two addresses."""
    address_bytes = (layout.tuple_bytes - 4) // 2
    source = slot[:address_bytes]
    destination = slot[layout.tuple_bytes :][address_bytes : 2 * address_bytes]
    return KernelFlow(str(ip_address(source)), str(ip_address(destination)))
