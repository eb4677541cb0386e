"""What a process's BPF maps hold, as the kernel has it: the engine's own count of its flows may be wrong."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

from engine.fastpath.layout import FLOW_V4, FLOW_V6, STATE_AT, State
from engine.fastpath.maps import Map

FLOW_TABLES = {"flows_v4": FLOW_V4, "flows_v6": FLOW_V6}
"""Arrays whose slots say themselves whether they are in use; a flow has two, one for each direction."""
HASH = 1
"""BPF_MAP_TYPE_HASH"""


def count_entries(pid: int) -> dict[str, int]:
    """How many entries each map of a process has, by its name: hash maps and tables of flows, for others have none."""
    counts = {}
    for number, kind in _open_maps(pid).items():
        fd = ctypes.CDLL("libbpf.so.1").bpf_map_get_fd_by_id(number)
        if fd < 0:
            raise RuntimeError(f"the BPF map {number} of process {pid} went while it was looked at")
        try:
            found = Map(fd)
            if found.name in FLOW_TABLES:
                counts[found.name] = _count_flows(found)
            elif kind == HASH:
                counts[found.name] = len(found.list_keys())
        finally:
            os.close(fd)
    return counts


def _count_flows(table: Map) -> int:
    layout = FLOW_TABLES[table.name]
    with table.mmap() as memory:
        return memory[layout.track_at + STATE_AT :: layout.flow_bytes].count(State.LIVE)


def _open_maps(pid: int) -> dict[int, int]:
    """The types of a process's maps, by their numbers."""
    told = [file.read_text() for file in Path("/proc", str(pid), "fdinfo").iterdir()]
    facts = [dict(re.findall(r"^(map_id|map_type):\s*(\d+)$", text, re.MULTILINE)) for text in told]
    return {int(fact["map_id"]): int(fact["map_type"]) for fact in facts if fact}
