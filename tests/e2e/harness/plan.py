"""The address plan: every network in IPv4 and IPv6.

Clients live in the benchmarking net of RFC 2544 and the documentation prefix of RFC 3849. What runs inside the
tunnels is IPv4 whichever family carries it, so that a virtual address tells the server everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias


class Family(StrEnum):
    """The address family that carries IKE and ESP."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


Addresses: TypeAlias = Mapping[Family, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """One link-layer network with a prefix of each family."""

    bridge: str
    v4: IPv4Network
    v6: IPv6Network

    def host(self, number: int) -> Addresses:
        """The addresses of the host with this number."""
        return {Family.IPV4: str(self.v4[number]), Family.IPV6: str(self.v6[number])}

    def prefix_length(self, family: Family) -> int:
        """How many bits of an address name the segment."""
        return self.v4.prefixlen if family is Family.IPV4 else self.v6.prefixlen


WAN = Segment("wan", IPv4Network("198.18.0.0/24"), IPv6Network("2001:db8:1::/64"))
LAN = Segment("lan", IPv4Network("10.77.0.0/24"), IPv6Network("fd00:77::/64"))
HOME = Segment("home", IPv4Network("192.168.77.0/24"), IPv6Network("fd00:88::/64"))

BEHIND = "172.20.0.1"
"""Lies behind every server: what clients ping through their tunnels."""
BEHIND_NETWORK = "172.20.0.0/24"


def virtual_pool(server: int) -> str:
    """The virtual addresses that a server hands out."""
    return f"10.{100 + server}.0.0/24"


def server_of(virtual_address: str) -> str:
    """The name of the server that handed a virtual address out."""
    return f"rs{int(virtual_address.split('.')[1]) - 100}"
