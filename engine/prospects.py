"""What there is on this machine for a fast path to work with, whether this installation has one or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prospect:
    """A device that the program would be put on."""

    name: str
    kind: str
    """Which sort of virtual device, such as veth; empty for hardware."""
    program: str
    """The XDP program that is on it, as `name, id 7`."""
    merges_packets: bool
    hides_tags: bool
    """Frames of VLAN devices above it would leave with a wrong tag in generic mode."""


@dataclass(frozen=True, slots=True)
class Prospects:
    """What there is for the fast path to work with."""

    libbpf: str
    """Its version; empty: there is none that can be used."""
    failure: str
    """Why the kernel does not take the program, and what to do; empty: it does."""
    devices: tuple[Prospect, ...]
