"""The network of the fast path's bench: the testbed with all neighbours known, and its devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..processes import run
from ..testbed import REAL_SERVERS, Testbed, testbed


class Device(msgspec.Struct, frozen=True, rename={"index": "ifindex", "name": "ifname", "mac": "address"}):
    """A network device, as `ip -json link` tells it."""

    index: int
    name: str
    mac: str


@dataclass(frozen=True, slots=True)
class Network:
    """The testbed and the four devices that packets pass: client's, balancer's two, server's."""

    bed: Testbed
    client: Device
    clients_side: Device
    servers_side: Device
    server: Device


@contextmanager
def network(directory: Path) -> Iterator[Network]:
    """Build it all; it is gone when the block ends."""
    with testbed(directory) as bed:
        client, clients_side = _device(bed.client, "up1"), _device(bed.balancer, "down1")
        servers_side, server = _device(bed.balancer, "up2"), _device(bed.server, "down2")
        ends = (
            (bed.client, client, clients_side, "198.18.1.1"),
            (bed.balancer, clients_side, client, "198.18.1.2"),
            (bed.balancer, servers_side, server, "198.18.2.2"),
            (bed.server, server, servers_side, "198.18.2.1"),
        )
        for namespace, device, peer, address in ends:
            # No ARP in the midst of a measurement, and none needed from a peer that only counts.
            run("ip", "-n", namespace, "neigh", "replace", address, "lladdr", peer.mac, "dev", device.name)
        for address in REAL_SERVERS:
            run("ip", "-n", bed.balancer, "neigh", "replace", address, "lladdr", server.mac, "dev", servers_side.name)
        run("ip", "-n", bed.client, "route", "add", "198.18.2.0/24", "via", "198.18.1.1")
        yield Network(bed, client, clients_side, servers_side, server)


def _device(namespace: str, name: str) -> Device:
    (device,) = msgspec.json.decode(run("ip", "-n", namespace, "-json", "link", "show", name), type=list[Device])
    return device
