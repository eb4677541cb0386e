"""Clients whose packets come from elsewhere all of a sudden: they move, or the NAT before them maps anew."""

from __future__ import annotations

from harness.namespaces import Namespace
from harness.peers import Client
from harness.plan import WAN, Family
from harness.topology import Node

_DEVICE = "eth0"


def move(client: Client, family: Family, address: str) -> None:
    """Give a client another address in place of the one it has, as a laptop that changes its network gets."""
    inside, length = client.node.namespace, WAN.prefix_length(family)
    old = client.node.addresses[family]
    # Else an address of the same network goes with the first one.
    inside.run("sysctl", "-qw", f"net.ipv4.conf.{_DEVICE}.promote_secondaries=1")
    inside.ip(f"addr add {address}/{length} dev {_DEVICE}", f"addr del {old}/{length} dev {_DEVICE}")
    _keep_gateway(inside, family)


def move_home(client: Client, family: Family, address: str) -> None:
    """Take `know_only` and `move` back, for the next test."""
    inside, length = client.node.namespace, WAN.prefix_length(family)
    home = client.node.addresses[family]
    inside.run("nft", "delete", "table", "inet", "family")
    inside.ip(f"addr replace {home}/{length} dev {_DEVICE}", f"addr del {address}/{length} dev {_DEVICE}")
    _keep_gateway(inside, family)


def know_only(client: Client, family: Family) -> None:
    """Let a client speak one address family only: else it may move to the other, where it has another service."""
    other = "ipv6" if family is Family.IPV4 else "ipv4"
    client.node.namespace.run(
        "nft",
        "-f",
        "-",
        stdin=f"""
table inet family
delete table inet family
table inet family {{
  chain leaving {{
    type filter hook output priority filter
    oifname "{_DEVICE}" meta nfproto {other} meta l4proto udp drop
  }}
}}
""",
    )


def map_anew(nat: Node, *, ports: str = "", ike_address: str = "", address: str = "") -> None:
    """Let a NAT forget its mappings and make others from now on.

    `ports` is a range such as 20000-29999; with addresses (of its device, IPv4), packets to 500 and those to other
    ports leave with one each.
    """
    target = f"masquerade to :{ports}" if ports else "masquerade"
    rules = [f'oifname "wan0" meta l4proto udp {target}', 'oifname "wan0" masquerade']
    if address:
        nat.namespace.ip(*(f"addr replace {extra}/{WAN.v4.prefixlen} dev wan0" for extra in (ike_address, address)))
        rules = [f'oifname "wan0" udp dport 500 snat ip to {ike_address}', f'oifname "wan0" snat ip to {address}']
    chain = "\n".join(rules)
    nat.namespace.run(
        "nft",
        "-f",
        "-",
        stdin=f"""
table inet nat
delete table inet nat
table inet nat {{
  chain post {{
    type nat hook postrouting priority srcnat
    {chain}
  }}
}}
""",
    )
    nat.namespace.run("conntrack", "-F")


def _keep_gateway(inside: Namespace, family: Family) -> None:
    # With its last address, IPv6 routes through the device may have gone as well.
    inside.ip(f"route replace default via {WAN.host(1)[family]} dev {_DEVICE}")
