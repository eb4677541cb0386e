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
from ipaddress import ip_address

from harness.namespaces import Namespace, run
from harness.plan import BEHIND, HOME, LAN, WAN, Addresses, Family, Segment

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

    @property
    def behind_nat(self) -> bool:
        """Whether it is a client in the segment behind the NAT."""
        return ip_address(self.addresses[Family.IPV4]) in HOME.v4


@dataclass(frozen=True, slots=True)
class Topology:
    """All machines, and the addresses that matter to a balancer."""

    shape: Shape
    nodes: Mapping[str, Node]
    vip: Addresses
    """The service's address, on the balancer."""
    snat: tuple[Addresses, ...]
    """The balancer's own addresses in the servers' segment: the route's own, then two spare ones."""
    arms: Mapping[Segment, tuple[Addresses, ...]]
    """The segments that the balancer has a device in, and its addresses there."""
    switch: Namespace

    def take_redirected_frames(self) -> None:
        """Have the far ends of the balancer's veth devices take what native XDP redirects, as network cards do."""
        for segment in self.arms:
            self.switch.run("ethtool", "-K", _port(segment, self.nodes["lb"]), "gro", "on")

    def drop_redirected_frames(self, segment: Segment) -> None:
        """Have the far end of one drop it, as devices without queues for it do."""
        self.switch.run("ethtool", "-K", _port(segment, self.nodes["lb"]), "gro", "off")

    def replace_device(self, segment: Segment) -> None:
        """Delete the balancer's device in a segment and make one of the same name, with another index."""
        balancer = self.nodes["lb"]
        balancer.namespace.ip(f"link del {device_in(segment)}")
        _plug(self.switch, balancer, segment, device_in(segment), self.arms[segment])
        self.take_redirected_frames()
        # Who knows the old one's MAC address would go on sending there for eight seconds, longer than a client waits.
        for node in self.nodes.values():
            node.namespace.ip("neigh flush all")


def device_in(segment: Segment) -> str:
    """The balancer's device in a segment."""
    return f"{segment.bridge}0"


def give_addresses(node: Node, segment: Segment, device: str, addresses: tuple[Addresses, ...]) -> None:
    """Have a device have these addresses, which it may have already."""
    node.namespace.ip(
        *(
            f"addr replace {address}/{segment.prefix_length(family)} dev {device}"
            for both in addresses
            for family, address in both.items()
        )
    )


def build(
    prefix: str,
    shape: Shape,
    *,
    clients: int,
    nat_clients: int,
    servers: int,
) -> Topology:
    """Make the namespaces; their names begin with `prefix`."""
    switch = Namespace.create(f"{prefix}-switch", {"net.ipv6.conf.all.disable_ipv6": "1"})
    for segment in (WAN, LAN, HOME):
        switch.ip(f"link add {segment.bridge} type bridge", f"link set {segment.bridge} up")
    nodes: dict[str, Node] = {}

    def node(name: str, addresses: Addresses, *, router: bool = False) -> Node:
        namespace = Namespace.create(f"{prefix}-{name}", _ROUTER if router else _HOST)
        nodes[name] = Node(name, namespace, addresses)
        return nodes[name]

    snat = tuple(LAN.host(number) for number in (1, 2, 3))
    balancer = node("lb", snat[0], router=True)
    match shape:
        case Shape.TWO_ARM:
            vip, gateway = WAN.host(10), WAN.host(1)
            arms = {WAN: (gateway, vip), LAN: snat}
        case Shape.SINGLE_ARM:
            vip, gateway, uplink = LAN.host(100), WAN.host(1), LAN.host(254)
            router = node("router", gateway, router=True)
            _plug(switch, router, WAN, "wan0", (gateway,))
            _plug(switch, router, LAN, "lan0", (uplink,))
            arms = {LAN: (*snat, vip)}
    for segment, addresses in arms.items():
        _plug(switch, balancer, segment, device_in(segment), addresses)
    if shape is Shape.SINGLE_ARM:
        _default_route(balancer, uplink)

    for number in range(1, servers + 1):
        server = node(f"rs{number}", LAN.host(10 + number), router=True)
        _plug(switch, server, LAN, "eth0", (server.addresses,))
        server.namespace.ip(f"addr add {BEHIND}/32 dev lo")
        _default_route(server, snat[0])
    for number in range(1, clients + 1):
        client = node(f"c{number}", WAN.host(20 + number))
        _plug(switch, client, WAN, "eth0", (client.addresses,))
        _default_route(client, gateway)
    if nat_clients:
        nat = node("nat", WAN.host(50), router=True)
        _plug(switch, nat, WAN, "wan0", (nat.addresses,))
        _plug(switch, nat, HOME, "home0", (HOME.host(1),))
        _default_route(nat, gateway)
        nat.namespace.run("nft", "-f", "-", stdin=_MASQUERADE)
    for number in range(1, nat_clients + 1):
        client = node(f"n{number}", HOME.host(20 + number))
        _plug(switch, client, HOME, "eth0", (client.addresses,))
        _default_route(client, HOME.host(1))
    return Topology(shape, nodes, vip, snat, arms, switch)


def _plug(
    switch: Namespace,
    node: Node,
    segment: Segment,
    device: str,
    addresses: tuple[Addresses, ...],
) -> None:
    """Give a node a device in a segment, with these addresses."""
    port, inside = _port(segment, node), node.namespace
    ends = (device, "netns", inside.name, "type", "veth", "peer", "name", port, "netns", switch.name)
    run(["ip", "link", "add", *ends])
    # A network card puts whole checksums on the wire; a veth pair leaves them to nobody.
    inside.run("ethtool", "-K", device, "tx", "off")
    switch.ip(f"link set {port} master {segment.bridge} up")
    give_addresses(node, segment, device, addresses)
    inside.ip(f"link set {device} up")


def _port(segment: Segment, node: Node) -> str:
    """The other end of a node's device in a segment."""
    return f"{segment.bridge}-{node.name}"


def _default_route(node: Node, gateway: Addresses) -> None:
    node.namespace.ip(*(f"route add default via {address}" for address in gateway.values()))
