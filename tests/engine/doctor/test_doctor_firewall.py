"""What the doctor reads in the rules of other programs: the obvious, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from doctor_facts import only, service

from engine.config.schema import Config, Source
from engine.doctor.firewall import Firewall, judge_firewall, read_chains

TRANSPARENT = Config(services=[service("vpn")])
SNAT = Config(services=[service("vpn", source=Source.SNAT)])

DPORT = {"payload": {"protocol": "udp", "field": "dport"}}
ACCEPT = {"accept": None}
DROP = {"drop": None}
TCP_22 = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}


def udp(right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": DPORT, "right": right}}


def chain(*rules: list[dict[str, Any]], hook: str = "input", policy: str = "drop", table: str = "filter") -> Firewall:
    """One base chain with its rules, as nft lists them."""
    named = {"family": "inet", "table": table}
    listing = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": table}},
        {"chain": {**named, "name": "main", "hook": hook, "type": "filter", "prio": 0, "policy": policy}},
        *({"rule": {**named, "chain": "main", "handle": number, "expr": rule}} for number, rule in enumerate(rules)),
    ]
    return Firewall(read_chains({"nftables": listing}))


def state(config: Config, found: Firewall, check: str = "firewall") -> str:
    return only(judge_firewall(config, found), check=check).state


def test_without_rules_all_is_well() -> None:
    assert {one.state for one in judge_firewall(TRANSPARENT, Firewall())} == {"ok"}


def test_who_may_not_look_is_told_so() -> None:
    assert only(judge_firewall(TRANSPARENT, Firewall(denied=True))).text.startswith("not checked: needs root")
    assert "nft is broken" in only(judge_firewall(TRANSPARENT, Firewall(failure="nft is broken"))).text


def test_a_chain_that_drops_and_accepts_no_ike_is_named() -> None:
    said = only(judge_firewall(SNAT, chain([TCP_22, ACCEPT])), check="firewall")
    assert (said.state, said.subject) == ("warn", "inet filter")
    assert "none seems to accept UDP 500, 4500" in said.text
    assert said.command.split("; ")[0] == "nft insert rule inet filter main udp dport '{ 500, 4500 }' accept"


@pytest.mark.parametrize(
    "rule",
    [
        [udp(500), ACCEPT],
        [udp({"set": [500, 4500]}), ACCEPT],
        [udp({"range": [1, 1000]}), ACCEPT],
        [udp({"set": [{"range": [4000, 5000]}]}), ACCEPT],
        [udp("@open_ports"), ACCEPT],
        [ACCEPT],
        [{"jump": {"target": "services"}}],
        [{"xt": {"type": "match", "name": "multiport"}}, ACCEPT],
    ],
)
def test_in_doubt_a_chain_lets_it_in(rule: list[dict[str, Any]]) -> None:
    assert state(SNAT, chain(rule)) == "ok"


@pytest.mark.parametrize(
    "found",
    [
        chain([TCP_22, ACCEPT], hook="forward"),
        chain([TCP_22, DROP], policy="accept"),
        chain([udp(53), DROP], policy="accept"),
        chain([TCP_22, ACCEPT], table="ikeconsole"),
    ],
)
def test_what_does_not_concern_the_services_is_left_alone(found: Firewall) -> None:
    assert state(SNAT, found) == "ok"


def test_a_rule_that_drops_ike_is_named() -> None:
    said = only(judge_firewall(SNAT, chain([udp(4500), DROP], policy="accept")), check="firewall")
    assert said.state == "warn"
    assert "has a rule that drops UDP 4500" in said.text
    assert said.command == "nft list table inet filter"


def test_redirected_ports_never_reach_the_engine() -> None:
    away = chain([udp(500), {"dnat": {"addr": "10.0.0.9"}}], hook="prerouting", policy="accept")
    assert state(SNAT, away, "nat-rules") == "warn"
    other = chain([udp(53), {"redirect": {"port": 5353}}], hook="prerouting", policy="accept")
    assert state(SNAT, other, "nat-rules") == "ok"


def test_masquerading_hides_the_clients_of_transparent_services() -> None:
    out = {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "lan"}}
    found = chain([out, {"masquerade": None}], hook="postrouting", policy="accept")
    assert state(TRANSPARENT, found, "nat-rules") == "warn"
    assert state(SNAT, found, "nat-rules") == "ok"
    of_tcp = chain([TCP_22, {"masquerade": None}], hook="postrouting", policy="accept")
    assert state(TRANSPARENT, of_tcp, "nat-rules") == "ok"
