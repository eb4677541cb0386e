"""Rules of others that stand between clients, engine and real servers, as far as that is obvious."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.config.schema import Config
from engine.doctor.commands import CommandError, Denied, ask
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import ports_in_use, transparent_services
from engine.net.transparent import NFT_TABLE

_FILTER: Final = Topic("network", "firewall")
_NAT: Final = Topic("network", "nat-rules")
_LOOK: Final = "nft list table {0}"
_HOOKS: Final = ("prerouting", "input")
_REDIRECTS: Final = ("dnat", "redirect", "tproxy")
_UNREADABLE: Final = ("xt", "jump", "goto", "vmap")
"""What a rule may hold that is not followed here: matches of iptables, and other chains."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain that the kernel passes packets through, with its rules."""

    table: str
    """Family and name."""
    name: str
    hook: str
    drops: bool
    """Whether it drops what none of its rules takes."""
    rules: list[list[dict[str, Any]]] = field(default_factory=list)
    """The expressions of each (libnftables-json(5))."""


@dataclass(frozen=True, slots=True)
class Firewall:
    """The rules there are, without the engine's own."""

    chains: tuple[Chain, ...] = ()
    failure: str = ""
    denied: bool = False


async def look_at_firewall() -> Firewall:
    """Ask nft for all rules."""
    try:
        return Firewall(read_chains(json.loads(await ask("nft", "-j", "list", "ruleset"))))
    except Denied:
        return Firewall(denied=True)
    except (CommandError, ValueError) as error:
        return Firewall(failure=str(error))


def read_chains(listing: Mapping[str, Any]) -> tuple[Chain, ...]:
    """The base chains of other programs, each with the rules that are in it itself."""
    rules: defaultdict[tuple[str, str], list[list[dict[str, Any]]]] = defaultdict(list)
    chains = []
    for item in listing.get("nftables", []):
        match item:
            case {"rule": {"family": family, "table": table, "chain": chain, "expr": expressions}}:
                rules[f"{family} {table}", chain].append(expressions)
            case {"chain": {"family": family, "table": table, "name": name, "hook": hook, **others}}:
                if table != NFT_TABLE:
                    held = rules[f"{family} {table}", name]
                    chains.append(Chain(f"{family} {table}", name, hook, others.get("policy") == "drop", held))
    return tuple(chains)


def judge_firewall(config: Config, found: Firewall) -> Iterator[Diagnosis]:
    """Which chains drop the services' packets, or change their addresses."""
    if found.denied:
        yield _FILTER.unchecked("whether nftables drops or rewrites what clients and real servers send")
        return
    if found.failure:
        yield _FILTER.unchecked("whether nftables drops what clients send", why=found.failure)
        return
    ports = sorted({port for _, port in ports_in_use(config)})
    filters = [said for chain in found.chains if (said := _judge_filter(chain, ports))]
    yield from filters or [_FILTER.ok("no rule of nftables obviously drops what clients and real servers send")]
    translations = list(_judge_nat(config, found.chains, ports))
    yield from translations or [_NAT.ok("no rule of nftables rewrites it")]


def _judge_filter(chain: Chain, ports: Collection[int]) -> Diagnosis | None:
    """Modest: only what any reader of the chain would see."""
    if chain.hook not in _HOOKS:
        return None
    named = ", ".join(map(str, ports))
    for rule in chain.rules:
        # A rule with more conditions (of an interface, an address, a rate) may have its good reasons.
        dropped = set(_udp_ports(rule)) & set(ports) if _verdict(rule) in ("drop", "reject") else set[int]()
        if dropped and len(rule) <= len(("match", "counter", "verdict")):
            hit = ", ".join(map(str, sorted(dropped)))
            return _FILTER.warn(
                f"the chain {chain.name} of table {chain.table} has a rule that drops UDP {hit}",
                chain.table,
                remedy="see what it is there for",
                command=_LOOK.format(chain.table),
            )
    if not chain.drops or any(_lets_in(rule, ports) for rule in chain.rules):
        return None
    return _FILTER.warn(
        f"the chain {chain.name} of table {chain.table} drops what no rule accepts, and none seems to accept "
        f"UDP {named}",
        chain.table,
        remedy="accept what clients send, and what real servers answer",
        command="; ".join(
            f"nft insert rule {chain.table} {chain.name} udp {side} '{{ {named} }}' accept"
            for side in ("dport", "sport")
        ),
    )


def _lets_in(rule: list[dict[str, Any]], ports: Collection[int]) -> bool:
    """Whether a rule may accept new packets to the ports; in doubt it does."""
    if any(kind in expression for expression in rule for kind in _UNREADABLE):
        return True
    if _verdict(rule) != "accept":
        return False
    matches = [expression["match"] for expression in rule if "match" in expression]
    if not matches:
        return True
    return bool(set(_udp_ports(rule)) & set(ports))


def _judge_nat(config: Config, chains: Collection[Chain], ports: Collection[int]) -> Iterator[Diagnosis]:
    hidden = bool(transparent_services(config))
    for chain in chains:
        for rule in chain.rules:
            kinds = {kind for expression in rule for kind in expression}
            if chain.hook == "prerouting" and kinds & set(_REDIRECTS) and set(_udp_ports(rule)) & set(ports):
                yield _NAT.warn(
                    f"the chain {chain.name} of table {chain.table} sends UDP {', '.join(map(str, ports))} elsewhere, "
                    "before the engine sees it",
                    chain.table,
                    command=_LOOK.format(chain.table),
                )
            elif hidden and chain.hook == "postrouting" and kinds & {"masquerade", "snat"} and _concerns_udp(rule):
                yield _NAT.warn(
                    f"the chain {chain.name} of table {chain.table} translates source addresses: real servers of "
                    "transparent services may see this machine instead of their clients",
                    chain.table,
                    remedy="take their addresses out of it, or what leaves by their devices",
                    command=_LOOK.format(chain.table),
                )


def _verdict(rule: list[dict[str, Any]]) -> str:
    return next((kind for expression in rule for kind in expression if kind in ("accept", "drop", "reject")), "")


def _concerns_udp(rule: list[dict[str, Any]]) -> bool:
    """Unless it names another protocol."""
    protocols = {
        str(match["left"]["payload"].get("protocol"))
        for expression in rule
        if (match := expression.get("match")) and "payload" in match["left"]
    }
    return not protocols & {"tcp", "icmp", "icmpv6", "sctp"}


def _udp_ports(rule: list[dict[str, Any]]) -> Iterator[int]:
    """The ports 0..65535 that a rule's matches of UDP destination ports name."""
    for expression in rule:
        match expression:
            case {"match": {"left": {"payload": {"protocol": "udp" | "th", "field": "dport"}}, "right": right}}:
                yield from _numbers(right)


def _numbers(right: Any) -> Iterator[int]:
    match right:
        case int():
            yield right
        case {"range": [int(first), int(last)]}:
            yield from range(first, last + 1)
        case {"set": list(elements)}:
            for element in elements:
                yield from _numbers(element)
        case str() if right.startswith("@"):
            # A named set: which ports are in it is not looked up, so all may be.
            yield from range(1 << 16)
