"""The kernel's part of transparent services: rule, route and nftables table that bring replies back.

Real servers answer to the clients' own addresses. Those packets are not for this machine: the tproxy rule hands them
to the connected upstream socket of the client, or else to the catch-all socket, and a marked packet is routed to
this machine. tproxy is the expression that also switches IP defragmentation on, which big IKE_AUTH answers need.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from socket import AF_INET, AF_INET6, AddressFamily
from typing import Any, TypeAlias

import trio

MARK = "0x1ce"
ROUTE_TABLE = "466"
NFT_TABLE = "ikeconsole"

Endpoint: TypeAlias = tuple[str, int]

_FLAGS = {AF_INET: "-4", AF_INET6: "-6"}
_NFT_WORDS = {
    AF_INET: ("real_servers_v4", "ip", "ipv4_addr", "127.0.0.1"),
    AF_INET6: ("real_servers_v6", "ip6", "ipv6_addr", "[::1]"),
}
_STRANGERS = {AF_INET: "strangers_v4", AF_INET6: "strangers_v6"}
STRANGERS_KEPT = 1024
STRANGERS_KEPT_S = 60


class Part(Enum):
    """What the kernel needs to have, in words."""

    RULE = f"the rule for fwmark {MARK}"
    ROUTE = f"the route in table {ROUTE_TABLE}"
    TABLE = f"the nftables table inet {NFT_TABLE}"


class PlumbingError(Exception):
    """The kernel refused the rule, the route or the table; the message says what to do."""


async def install(family: AddressFamily) -> None:
    """Make rule and route of an address family, whatever an earlier run left behind.

    Raises:
        PlumbingError: a tool is missing, or the kernel refuses.
    """
    await _run("ip", *_route(family, "replace"))
    await _remove_rules(family)
    await _run("ip", _FLAGS[family], "rule", "add", "fwmark", MARK, "lookup", ROUTE_TABLE)


async def update(endpoints: Iterable[Endpoint], catch_alls: Mapping[AddressFamily, int]) -> None:
    """Replace the nftables table in one transaction.

    `endpoints` are (address, UDP port) of real servers; `catch_alls` are the UDP ports of the catch-all sockets.

    Raises:
        PlumbingError: nft is missing, or the kernel refuses.
    """
    await _run("nft", "-f", "-", stdin=ruleset(endpoints, catch_alls))


async def missing(family: AddressFamily) -> list[Part]:
    """Which of rule and route of an address family the kernel does not have."""
    routes = json.loads(await _try("ip", "-json", _FLAGS[family], "route", "show", "table", ROUTE_TABLE) or "[]")
    has_route = any(
        (route["dst"], route.get("type"), route.get("dev")) == ("default", "local", "lo") for route in routes
    )
    found = {Part.RULE: await _own_rules(family) > 0, Part.ROUTE: has_route}
    return [part for part, is_there in found.items() if not is_there]


async def listing() -> list[dict[str, Any]]:
    """The nftables table as the kernel has it, but for what its rules note down; empty: there is none."""
    said = await _try("nft", "-j", "list", "table", "inet", NFT_TABLE)
    items: list[dict[str, Any]] = json.loads(said or "{}").get("nftables", [])
    for made in (item["set"] for item in items if "set" in item):
        elements = made.pop("elem", [])
        if made["name"] not in _STRANGERS.values():
            # The kernel tells them in any order.
            made["elem"] = sorted(elements, key=str)
    return items


async def remove() -> bool:
    """Take rules, routes and table away, as far as they are there; says whether any were."""
    was_there = bool(await _try("nft", "list", "table", "inet", NFT_TABLE))
    for family in _FLAGS:
        was_there |= await _remove_rules(family)
        await _try("ip", *_route(family, "del"))
    await _try("nft", "delete", "table", "inet", NFT_TABLE)
    return was_there


async def strangers(family: AddressFamily) -> list[tuple[str, str]]:
    """Source and destination of IKE, or of real servers' other UDP, that passed by lately; none where nft fails."""
    said = await _try("nft", "-j", "list", "set", "inet", NFT_TABLE, _STRANGERS[family])
    found = []
    for item in json.loads(said or "{}").get("nftables", []):
        for element in item.get("set", {}).get("elem", []):
            source, destination = element["elem"]["val"]["concat"]
            found.append((source, destination))
    return found


def ruleset(endpoints: Iterable[Endpoint], catch_alls: Mapping[AddressFamily, int]) -> str:
    """The nftables table: packets from real servers to addresses that are not this machine's.

    A real server that answers from another address or port cannot be told from other traffic that this machine routes:
    that passes on, and the sets of strangers remember who sent it to whom.
    """
    ordered = sorted(endpoints)
    blocks, rules = [], []
    for family, port in catch_alls.items():
        name, protocol, address_type, loopback = _NFT_WORDS[family]
        own = [(address, port) for address, port in ordered if (":" in address) == (family == AF_INET6)]
        if not own:
            continue
        inside = ", ".join(f"{address} . {port}" for address, port in own)
        addresses = ", ".join(sorted({address for address, _ in own}))
        ports = ", ".join(str(port) for port in sorted({port for _, port in own}))
        note = f"update @{_STRANGERS[family]} {{ {protocol} saddr . {protocol} daddr }}"
        blocks.append(f"""\
    set {name} {{
        type {address_type} . inet_service
        elements = {{ {inside} }}
    }}
    set {_STRANGERS[family]} {{
        type {address_type} . {address_type}
        flags dynamic, timeout
        size {STRANGERS_KEPT}
        timeout {STRANGERS_KEPT_S}s
    }}""")
        rules.append(f"""\
        {protocol} saddr . udp sport @{name} tproxy {protocol} to {loopback}:{port} meta mark set {MARK} accept
        udp sport {{ {ports} }} {note}
        {protocol} saddr {{ {addresses} }} {note}""")
    lines = "\n"
    return f"""\
table inet {NFT_TABLE} {{}}
delete table inet {NFT_TABLE}
table inet {NFT_TABLE} {{
{lines.join(blocks)}
    chain return_path {{
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto != udp accept
        fib daddr type {{ local, broadcast, multicast }} accept
{lines.join(rules)}
    }}
}}
"""


async def _own_rules(family: AddressFamily) -> int:
    listed = json.loads(await _try("ip", "-json", _FLAGS[family], "rule", "show") or "[]")
    return sum(rule.get("fwmark") == MARK and rule.get("table") == ROUTE_TABLE for rule in listed)


async def _remove_rules(family: AddressFamily) -> bool:
    own = await _own_rules(family)
    for _ in range(own):
        await _try("ip", _FLAGS[family], "rule", "del", "fwmark", MARK, "lookup", ROUTE_TABLE)
    return bool(own)


def _route(family: AddressFamily, action: str) -> tuple[str, ...]:
    everything = "::/0" if family == AF_INET6 else "0.0.0.0/0"
    return _FLAGS[family], "route", action, "local", everything, "dev", "lo", "table", ROUTE_TABLE


async def _try(*command: str) -> str:
    """Run what has nothing to do where its tool or its address family is missing."""
    try:
        done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    except FileNotFoundError:
        return ""
    return done.stdout.decode()


async def _run(*command: str, stdin: str = "") -> str:
    try:
        done = await trio.run_process(
            command, stdin=stdin.encode(), check=False, capture_stdout=True, capture_stderr=True
        )
    except FileNotFoundError:
        raise PlumbingError(_missing(command)) from None
    if done.returncode:
        raise PlumbingError(_refused(command, done))
    return done.stdout.decode()


def _missing(command: Sequence[str]) -> str:
    package = {"nft": "nftables", "ip": "iproute2"}[command[0]]
    return (
        f'source = "transparent" needs the program {command[0]}: install the package {package}, or set source = "snat"'
    )


def _refused(command: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode(errors="replace").strip()
    remedy = "run as root or give CAP_NET_ADMIN, " if "ermitted" in said or "ermission" in said else ""
    return f'`{" ".join(command)}` failed: {said}; {remedy}or set source = "snat"'
