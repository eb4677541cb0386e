"""A witness in a namespace's kernel: which peers, IKE SAs and ESP SAs sent it packets.

It looks before any reassembly, and by SPI, so it can tell one client's packets from another's whatever the
balancer did to their addresses.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from harness.namespaces import Namespace

# `th` counts from the UDP header: 8 bytes of it, then the SPIs or, on port 4500, the non-ESP marker.
_RULES = """
table inet witness {
  set ike_spis { typeof @th,64,64; flags dynamic; size 65535; }
  set esp_spis { typeof @th,64,32; flags dynamic; size 65535; }
  set peers_v4 { typeof ip saddr . udp sport; flags dynamic; size 65535; }
  set peers_v6 { typeof ip6 saddr . udp sport; flags dynamic; size 65535; }
  counter fragments { }
  chain arriving {
    type filter hook prerouting priority -450; policy accept;
    ip frag-off & 0x1fff != 0 counter name fragments accept
    frag frag-off != 0 counter name fragments accept
    udp dport 500 add @ike_spis { @th,64,64 }
    udp dport 4500 @th,64,32 0 add @ike_spis { @th,96,64 }
    udp dport 4500 @th,64,32 != 0 add @esp_spis { @th,64,32 }
    udp sport 4500 @th,64,32 != 0 add @esp_spis { @th,64,32 }
    udp dport { 500, 4500 } ip saddr != 0.0.0.0 add @peers_v4 { ip saddr . udp sport }
    udp dport { 500, 4500 } ip6 saddr != :: add @peers_v6 { ip6 saddr . udp sport }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What arrived so far."""

    ike_spis: frozenset[str]
    """Initiator SPIs of IKE messages, 16 hex digits."""
    esp_spis: frozenset[str]
    """SPIs of ESP in UDP, 8 hex digits."""
    peers: frozenset[tuple[str, int]]
    """Source addresses and ports of packets to 500 or 4500."""
    fragments: int
    """IP fragments other than first ones."""

    def has(self, spi: str) -> bool:
        """Whether packets with this IKE or ESP SPI arrived."""
        return spi in self.ike_spis or spi in self.esp_spis


def install(namespace: Namespace) -> None:
    """Begin, or begin anew, to watch what arrives."""
    namespace.run("nft", "-f", "-", stdin="table inet witness\ndelete table inet witness\n" + _RULES)


def hear(namespace: Namespace) -> Seen:
    """What arrived since `install`."""
    listing = json.loads(namespace.run("nft", "-j", "list", "table", "inet", "witness"))["nftables"]
    sets: defaultdict[str, list[Any]] = defaultdict(list)
    fragments = 0
    for item in listing:
        match item:
            case {"set": {"name": name, "elem": elements}}:
                sets[name] = elements
            case {"counter": {"name": "fragments", "packets": packets}}:
                fragments = packets
    peers = [element["concat"] for name in ("peers_v4", "peers_v6") for element in sets[name]]
    return Seen(
        # nft prints 64 bits as a signed number.
        ike_spis=frozenset(f"{spi % 2**64:016x}" for spi in sets["ike_spis"]),
        esp_spis=frozenset(f"{spi:08x}" for spi in sets["esp_spis"]),
        peers=frozenset((address, port) for address, port in peers),
        fragments=fragments,
    )
