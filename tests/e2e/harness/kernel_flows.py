"""What the engine's XDP program holds, read from the kernel itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from engine.fastpath.layout import State
from harness.namespaces import run


@dataclass(frozen=True, slots=True)
class KernelFlow:
    """One direction of a flow: where its packets come from, and where they are sent."""

    source: str
    becomes_source: str
    becomes_destination: str
    packets: int


def kernel_flows(pid: int) -> list[KernelFlow]:
    """All that the program of a process forwards."""
    return [flow for number in _map_numbers(pid) for flow in _flows(number)]


def _map_numbers(pid: int) -> set[int]:
    """The numbers of a process's BPF maps, for the kernel has no other name for whose they are."""
    found = set()
    for file in Path("/proc", str(pid), "fdinfo").iterdir():
        try:
            told = re.search(r"^map_id:\s*(\d+)$", file.read_text(), re.MULTILINE)
        except FileNotFoundError:
            continue
        if told:
            found.add(int(told[1]))
    return found


def _flows(number: int) -> Iterator[KernelFlow]:
    described = msgspec.json.decode(run(["bpftool", "-j", "map", "show", "id", str(number)]))
    if not described["name"].startswith("flows_v"):
        return
    for item in msgspec.json.decode(run(["bpftool", "-j", "map", "dump", "id", str(number)])):
        slot = item["formatted"]["value"]
        came, becomes, track = slot["is"], slot["becomes"], slot["track"]
        if track["state"] == State.LIVE:
            yield KernelFlow(
                _address(came["source"]),
                _address(becomes["source"]),
                _address(becomes["destination"]),
                track["packets"],
            )


def _address(words: Any) -> str:
    """Words in network byte order, which bpftool reads as this machine's."""
    listed = words if isinstance(words, list) else [words]
    return str(ip_address(b"".join(word.to_bytes(4, "little") for word in listed)))
