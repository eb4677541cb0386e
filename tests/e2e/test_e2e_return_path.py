"""What a transparent engine puts into the kernel: there while it runs, gone after it, never twice."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.plan import Family

pytestmark = pytest.mark.e2e

MARK = "0x1ce"
TABLE = "466"


def rules(lab: Lab, option: str) -> list[Any]:
    said = lab.balancer.node.namespace.run("ip", "-json", option, "rule", "show")
    return [rule for rule in json.loads(said) if rule.get("fwmark") == MARK and rule["table"] == TABLE]


def routes(lab: Lab, option: str) -> list[str]:
    # Without check: ip fails when the table has never had a route.
    return lab.balancer.node.namespace.run("ip", option, "route", "show", "table", TABLE, check=False).splitlines()


def tables(lab: Lab) -> list[str]:
    said = json.loads(lab.balancer.node.namespace.run("nft", "-j", "list", "tables"))
    return [item["table"]["name"] for item in said["nftables"] if "table" in item]


def counts(lab: Lab) -> tuple[int, int, int, int, int]:
    return (
        len(rules(lab, "-4")),
        len(rules(lab, "-6")),
        len(routes(lab, "-4")),
        len(routes(lab, "-6")),
        len(tables(lab)),
    )


def test_the_return_path_lives_as_long_as_the_engine(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    assert counts(lab) == (0, 0, 0, 0, 0)
    lab.balancer.start()
    assert counts(lab) == (1, 1, 1, 1, 1)
    assert lab.balancer.stop() == 0
    assert counts(lab) == (0, 0, 0, 0, 0)


def test_an_engine_that_was_killed_is_followed_by_one_that_finds_its_leftovers(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    lab.balancer.start()
    lab.balancer.stop(signal.SIGKILL)
    assert counts(lab) == (1, 1, 1, 1, 1)
    lab.balancer.start()
    assert counts(lab) == (1, 1, 1, 1, 1)

    client = lab.clients["c1"]
    client.connect(lab.vip[Family.IPV4])
    client.await_data()
    assert lab.balancer.stop() == 0
    assert counts(lab) == (0, 0, 0, 0, 0)


def test_an_snat_engine_leaves_the_kernel_alone(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "snat"))
    lab.balancer.start()
    assert counts(lab) == (0, 0, 0, 0, 0)
