"""The balancer in the servers' own segment, with one interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.peers import Profile
from harness.plan import Family

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _tidy(single_arm_lab: Lab) -> Iterator[None]:
    yield
    single_arm_lab.balancer.close()
    single_arm_lab.tidy()


@pytest.mark.parametrize("source", ["transparent", "snat"])
def test_tunnels_work_and_are_rekeyed_by_either_side(single_arm_lab: Lab, source: str) -> None:
    lab = single_arm_lab
    client = lab.clients["c1"]
    lab.balancer.write(configuration(lab.topology, source))
    lab.balancer.start()
    for family in Family:
        tunnel = client.connect(lab.vip[family], Profile.BIG_CERT)
        client.await_data()
        tunnel = client.rekey("ike")
        lab.servers[tunnel.server].rekey(client, "child")
        client.await_change(tunnel, "child")
        client.await_data()
        remote = lab.servers[tunnel.server].sa_of(client).remote_host
        assert (remote == client.node.addresses[family]) is (source == "transparent")
        client.charon.close_all()
