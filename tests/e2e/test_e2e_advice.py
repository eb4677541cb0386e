"""Advice on real strongSwan servers: what they are and whether answers come back is seen, not assumed."""

from __future__ import annotations

import pytest
from harness.balancer import configuration, service_name
from harness.lab import Lab
from harness.plan import Family

from engine.control.calls import GetAdvice
from engine.control.records import Advice

pytestmark = pytest.mark.e2e


def advice(lab: Lab, server: str) -> dict[str, Advice]:
    """What there is to say of a server, or of its service for an empty name, by topic."""
    found = lab.balancer.ask(GetAdvice(service=service_name(Family.IPV4)))
    return {one.topic: one for one in found if one.server == server}


def test_what_a_tunnel_showed_replaces_what_could_only_be_advised(fresh_lab: Lab) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    lab.balancer.start()
    before = advice(lab, "rs1")
    assert before["return-path"].severity == "consider"
    linux = next(snippet for snippet in before["return-path"].snippets if snippet.language == "shell")
    route = lab.servers["rs1"].node.namespace.run("ip", "route", "show", "default").split()
    assert f"ip route replace default via {route[2]}" in linux.text
    assert "probe" not in advice(lab, "")

    for client in lab.clients.values():
        client.connect(lab.vip[Family.IPV4])
        client.await_data()
    for server in lab.servers:
        told = advice(lab, server)
        assert (told["return-path"].severity, told["fragmentation"].severity) == ("well", "well")
    assert "rs1, rs2 and rs3 answer INVALID_MAJOR_VERSION: strongSwan" in advice(lab, "")["probe"].why
