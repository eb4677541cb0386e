"""The kernel's part of transparent services: rule, route and nftables table that bring replies back.

Real servers answer to the clients' own addresses. Those packets are not for this machine: the tproxy rule hands them
to the connected upstream socket of the client, or else to the catch-all socket, and a marked packet is routed to
this machine. tproxy is the expression that also switches IP defragmentation on, which big IKE_AUTH answers need.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import trio

MARK = "0x1ce"
ROUTE_TABLE = "466"
NFT_TABLE = "ikeconsole"

Endpoint: TypeAlias = tuple[str, int]

_FAMILIES = {"-4": "0.0.0.0/0", "-6": "::/0"}


class PlumbingError(Exception):
    """The kernel refused the rule, the route or the table; the message says what to do."""


async def install(endpoints: Iterable[Endpoint], catch_all_v4: int, catch_all_v6: int) -> None:
    """Make rule, route and table, whatever an earlier run left behind.

    `endpoints` are (address, UDP port) of the real servers, the others the UDP ports of the catch-all sockets.

    Raises:
        PlumbingError: a tool is missing, or the kernel refuses.
    """
    for family, everything in _FAMILIES.items():
        await _run("ip", family, "route", "replace", "local", everything, "dev", "lo", "table", ROUTE_TABLE)
        await _remove_rules(family)
        await _run("ip", family, "rule", "add", "fwmark", MARK, "lookup", ROUTE_TABLE)
    await update(endpoints, catch_all_v4, catch_all_v6)


async def update(endpoints: Iterable[Endpoint], catch_all_v4: int, catch_all_v6: int) -> None:
    """Replace the nftables table in one transaction; raises PlumbingError."""
    await _run("nft", "-f", "-", stdin=ruleset(endpoints, catch_all_v4, catch_all_v6))


async def remove() -> None:
    """Take rule, route and table away, as far as they are there."""
    for family, everything in _FAMILIES.items():
        await _remove_rules(family)
        await _try("ip", family, "route", "del", "local", everything, "dev", "lo", "table", ROUTE_TABLE)
    await _try("nft", "delete", "table", "inet", NFT_TABLE)


def ruleset(endpoints: Iterable[Endpoint], catch_all_v4: int, catch_all_v6: int) -> str:
    """The nftables table: packets from real servers to addresses that are not this machine's."""
    ordered = sorted(endpoints)
    v4 = [endpoint for endpoint in ordered if ":" not in endpoint[0]]
    v6 = [endpoint for endpoint in ordered if ":" in endpoint[0]]
    return f"""\
table inet {NFT_TABLE} {{}}
delete table inet {NFT_TABLE}
table inet {NFT_TABLE} {{
    set real_servers_v4 {{
        type ipv4_addr . inet_service
        {_elements(v4)}
    }}
    set real_servers_v6 {{
        type ipv6_addr . inet_service
        {_elements(v6)}
    }}
    chain return_path {{
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto != udp accept
        fib daddr type {{ local, broadcast, multicast }} accept
        ip saddr . udp sport @real_servers_v4 tproxy ip to 127.0.0.1:{catch_all_v4} \
meta mark set {MARK} accept
        ip6 saddr . udp sport @real_servers_v6 tproxy ip6 to [::1]:{catch_all_v6} \
meta mark set {MARK} accept
    }}
}}
"""


def _elements(endpoints: Iterable[Endpoint]) -> str:
    inner = ", ".join(f"{address} . {port}" for address, port in endpoints)
    return f"elements = {{ {inner} }}" if inner else ""


async def _remove_rules(family: str) -> None:
    listed = await _run("ip", "-json", family, "rule", "show")
    for rule in json.loads(listed or "[]"):
        if rule.get("fwmark") == MARK and rule.get("table") == ROUTE_TABLE:
            await _try("ip", family, "rule", "del", "fwmark", MARK, "lookup", ROUTE_TABLE)


async def _try(*command: str) -> None:
    await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)


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
