"""The two networks that balancers are put into: between clients and servers, or beside the servers.

    two-arm       c1 c2 .. nat --- wan --- lb --- lan --- rs1 rs2 ..
    single-arm    c1 c2 .. nat --- wan --- router --- lan --- lb rs1 rs2 ..
    both          n1 n2 .. --- home --- nat

The servers' default gateway is the balancer in both, as transparency asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.namespaces import Namespace, run
from harness.plan import BEHIND, HOME, LAN, WAN, Addresses, Segment

_HOST = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
}
_ROUTER = _HOST | {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
}
_MASQUERADE = """
table inet nat {
  chain post {
    type nat hook postrouting priority srcnat
    oifname "wan0" masquerade
  }
}
"""


class Shape(StrEnum):
    """Where the balancer stands."""

    TWO_ARM = "two-arm"
    SINGLE_ARM = "single-arm"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine: its name, its namespace, its own addresses."""

    name: str
    namespace: Namespace
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Topology:
    """All machines, and the addresses that matter to a balancer."""

    shape: Shape
    nodes: Mapping[str, Node]
    vip: Addresses
    """The service's address, on the balancer."""
    snat: tuple[Addresses, ...]
    """The balancer's own addresses in the servers' segment: the route's own, then two spare ones."""


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes nodes and plugs them into the segments' bridges."""

    prefix: str
    switch: Namespace

    def node(self, name: str, addresses: Addresses, *, router: bool = False) -> Node:
        namespace = Namespace.create(f"{self.prefix}-{name}", _ROUTER if router else _HOST)
        return Node(name, namespace, addresses)

    def plug(self, node: Node, segment: Segment, interface: str, *addresses: Addresses) -> None:
        """Give a node an interface in a segment, with these addresses."""
        port = f"{segment.bridge}-{node.name}"
        inside, outside = node.namespace.name, self.switch.name
        run(["ip", "link", "add", interface, "netns", inside, "type", "veth", "peer", "name", port, "netns", outside])
        self.switch.ip(f"link set {port} master {segment.bridge} up")
        # A network card puts whole checksums on the wire; a veth pair leaves them to nobody.
        node.namespace.run("ethtool", "-K", interface, "tx", "off")
        node.namespace.ip(
            *(
                f"addr add {address}/{segment.prefix_length(family)} dev {interface}"
                for both in addresses
                for family, address in both.items()
            ),
            f"link set {interface} up",
        )


def _default_route(node: Node, gateway: Addresses) -> None:
    node.namespace.ip(*(f"route add default via {address}" for address in gateway.values()))


def build(prefix: str, shape: Shape, *, clients: int, nat_clients: int, servers: int) -> Topology:
    """Make the namespaces; their names begin with `prefix`."""
    switch = Namespace.create(f"{prefix}-switch", {"net.ipv6.conf.all.disable_ipv6": "1"})
    for segment in (WAN, LAN, HOME):
        switch.ip(f"link add {segment.bridge} type bridge", f"link set {segment.bridge} up")
    builder = _Builder(prefix, switch)
    nodes: dict[str, Node] = {}

    snat = tuple(LAN.host(number) for number in (1, 2, 3))
    balancer = nodes["lb"] = builder.node("lb", snat[0], router=True)
    match shape:
        case Shape.TWO_ARM:
            vip, gateway = WAN.host(10), WAN.host(1)
            builder.plug(balancer, WAN, "wan0", gateway, vip)
            builder.plug(balancer, LAN, "lan0", *snat)
        case Shape.SINGLE_ARM:
            vip, gateway, uplink = LAN.host(100), WAN.host(1), LAN.host(254)
            router = nodes["router"] = builder.node("router", gateway, router=True)
            builder.plug(router, WAN, "wan0", gateway)
            builder.plug(router, LAN, "lan0", uplink)
            builder.plug(balancer, LAN, "lan0", *snat, vip)
            _default_route(balancer, uplink)

    for number in range(1, servers + 1):
        server = nodes[f"rs{number}"] = builder.node(f"rs{number}", LAN.host(10 + number), router=True)
        builder.plug(server, LAN, "eth0", server.addresses)
        server.namespace.ip(f"addr add {BEHIND}/32 dev lo")
        _default_route(server, snat[0])
    for number in range(1, clients + 1):
        client = nodes[f"c{number}"] = builder.node(f"c{number}", WAN.host(20 + number))
        builder.plug(client, WAN, "eth0", client.addresses)
        _default_route(client, gateway)
    if nat_clients:
        nat = nodes["nat"] = builder.node("nat", WAN.host(50), router=True)
        builder.plug(nat, WAN, "wan0", nat.addresses)
        builder.plug(nat, HOME, "home0", HOME.host(1))
        _default_route(nat, gateway)
        nat.namespace.run("nft", "-f", "-", stdin=_MASQUERADE)
    for number in range(1, nat_clients + 1):
        client = nodes[f"n{number}"] = builder.node(f"n{number}", HOME.host(20 + number))
        builder.plug(client, HOME, "eth0", client.addresses)
        _default_route(client, HOME.host(1))
    return Topology(shape, nodes, vip, snat)
