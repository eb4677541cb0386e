"""Whether what a running engine has put into the kernel for its transparent services is still there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from engine.config.schema import Config
from engine.doctor.commands import CommandError, ask
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import transparent_services
from engine.net.transparent import MARK, NFT_TABLE, ROUTE_TABLE

TOPIC: Final = Topic("services", "return-path-rules")


async def look_at_plumbing(config: Config) -> dict[int, str]:
    """What is gone of a running engine's rules, by IP version; empty words: all is there. Raises CommandError."""
    found: dict[int, str] = {}
    tables = json.loads(await ask("nft", "-j", "list", "tables")).get("nftables", [])
    table = any(item.get("table", {}).get("name") == NFT_TABLE for item in tables)
    for version in sorted({service.address.version for service in transparent_services(config)}):
        family = f"-{version}"
        rules = json.loads(await ask("ip", "-json", family, "rule", "show") or "[]")
        rule = any(one.get("fwmark") == MARK and one.get("table") == ROUTE_TABLE for one in rules)
        try:
            route = bool(json.loads(await ask("ip", "-json", family, "route", "show", "table", ROUTE_TABLE) or "[]"))
        except CommandError:
            # iproute2 calls a table that never had a route an error.
            route = False
        lost = [
            name
            for there, name in (
                (table, f"the nftables table inet {NFT_TABLE}"),
                (rule, f"the rule for mark {MARK}"),
                (route, f"the route in table {ROUTE_TABLE}"),
            )
            if not there
        ]
        found[version] = " and ".join(lost)
    return found


def judge_plumbing(lost: Mapping[int, str]) -> Iterator[Diagnosis]:
    """Whether somebody took the engine's rules away."""
    for version, what in lost.items():
        if what:
            yield TOPIC.fail(
                f"IPv{version}: {what} is gone, so answers of transparent services' real servers are lost, "
                "and the engine, which puts back what others take away, has not done so",
                remedy="its alarm return-path-gone says why",
                command="ikeconsole status",
            )
        else:
            yield TOPIC.ok(f"the engine's rules for IPv{version} answers are in place")
