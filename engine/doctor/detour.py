"""A return path for a moment: brings answers to one client's address here while no engine does it.

It is made as the engine makes its own (`engine.net.transparent`), with a mark, a route table and an nftables table
of its own, so that neither disturbs the other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

import trio

from engine.doctor.commands import CommandError, ask
from engine.net.transparent import Endpoint

MARK = "0x1cf"
ROUTE_TABLE = "467"
NFT_TABLE = "ikeconsole_doctor"

_LAST_WORDS_S = 10.0


@asynccontextmanager
async def detour(endpoints: Iterable[Endpoint], client: str) -> AsyncGenerator[None, None]:
    """Have what these real servers send to a client's address come here, to connected sockets of that address.

    Raises:
        CommandError: a tool is missing, or the kernel refuses.
    """
    family = "-6" if ":" in client else "-4"
    await _remove(family)
    try:
        await ask("ip", *_route(family, "replace"))
        await ask("ip", family, "rule", "add", "fwmark", MARK, "lookup", ROUTE_TABLE)
        await ask("nft", "-f", "-", stdin=ruleset(endpoints, client))
        yield
    finally:
        with trio.move_on_after(_LAST_WORDS_S) as scope:
            scope.shield = True
            await _remove(family)


def ruleset(endpoints: Iterable[Endpoint], client: str) -> str:
    """The nftables table: only packets of these real servers to this one client."""
    protocol, here = ("ip6", "[::1]") if ":" in client else ("ip", "127.0.0.1")
    servers = ", ".join(f"{address} . {port}" for address, port in sorted(endpoints))
    return f"""\
table inet {NFT_TABLE} {{
    chain return_path {{
        type filter hook prerouting priority mangle; policy accept;
        {protocol} daddr {client} {protocol} saddr . udp sport {{ {servers} }} tproxy {protocol} to {here}:1 \
meta mark set {MARK} accept
    }}
}}
"""


async def _remove(family: str) -> None:
    """Take everything away that is there, of this run or of one that was killed."""
    for command in (
        ("nft", "delete", "table", "inet", NFT_TABLE),
        ("ip", family, "rule", "del", "fwmark", MARK, "lookup", ROUTE_TABLE),
        ("ip", *_route(family, "del")),
    ):
        with suppress(CommandError):
            await ask(*command)


def _route(family: str, action: str) -> tuple[str, ...]:
    everything = "::/0" if family == "-6" else "0.0.0.0/0"
    return family, "route", action, "local", everything, "dev", "lo", "table", ROUTE_TABLE
