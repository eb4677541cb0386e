"""What the operator does, and what happens to servers, while real tunnels carry data."""

from __future__ import annotations

import time

import pytest
from harness.balancer import PROBE_FALL, PROBE_INTERVAL_S, PROBE_TIMEOUT_S, configuration, service_name
from harness.lab import Lab
from harness.plan import Family
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))

DOWN_AFTER_S = PROBE_FALL * (PROBE_INTERVAL_S + PROBE_TIMEOUT_S) + 0.3
"""When a dead server must be known to be dead: probes that time out, and a little for a busy machine."""


@pytest.fixture(scope="module", params=["transparent", "snat"])
def source(request: pytest.FixtureRequest) -> str:
    """What the servers see."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _engine(source: str, fresh_lab: Lab) -> None:
    """An engine for each test, because the tests change its configuration."""
    fresh_lab.balancer.write(configuration(fresh_lab.topology, source))
    fresh_lab.balancer.start()


@families
def test_a_dead_servers_clients_go_elsewhere_and_the_others_notice_nothing(lab: Lab, family: Family) -> None:
    tunnels = {name: lab.clients[name].connect(lab.vip[family]) for name in ("c1", "c2", "c3")}
    orphan, dead = lab.clients["c2"], lab.servers[tunnels["c2"].server]
    others = [lab.clients["c1"].start_ping(0.02), lab.clients["c3"].start_ping(0.02)]
    try:
        killed_at = time.time()
        dead.charon.kill()
        eventually(
            lambda: lab.balancer.server(family, dead.node.name).health == "down", "the dead server is seen to be down"
        )
        assert lab.balancer.server(family, dead.node.name).health_since_at - killed_at < DOWN_AFTER_S

        lab.watch()
        assert not orphan.ping(2).answered, "no other server has the dead one's keys"
        now_at = lab.servers_that_saw(tunnels["c2"].child.spi_out)
        assert len(now_at) == 1
        assert now_at != {dead.node.name}

        orphan.charon.close_all()
        again = orphan.connect(lab.vip[family])
        assert again.server != dead.node.name
        orphan.await_data()

        for ping in others:
            ping.await_answers(20)
            assert not ping.finish().gaps
    finally:
        for ping in others:
            ping.abandon()
        dead.start()
    eventually(lambda: lab.balancer.server(family, dead.node.name).health == "up", "the server is seen to be back")


def test_draining_keeps_tunnels_and_sends_new_clients_elsewhere(lab: Lab) -> None:
    family = Family.IPV4
    stays = lab.clients["c1"]
    tunnel = stays.connect(lab.vip[family])
    target = f"{service_name(family)}/{tunnel.server}"

    lab.balancer.command("drain", target)
    assert lab.balancer.server(family, tunnel.server).admin_state == "drain"
    for name in ("c2", "c3"):
        client = lab.clients[name]
        assert client.connect(lab.vip[family]).server != tunnel.server
        client.await_data()
    stays.await_data()
    stays.rekey("ike")
    stays.await_data()

    lab.balancer.command("enable", target)
    assert lab.balancer.server(family, tunnel.server).admin_state == "enabled"
    # All have one session each: the first in the configuration is next.
    assert lab.clients["n1"].connect(lab.vip[family]).server == tunnel.server


def test_disabling_moves_clients_at_once(lab: Lab) -> None:
    family = Family.IPV4
    client = lab.clients["c1"]
    tunnel = client.connect(lab.vip[family])
    lab.balancer.command("disable", f"{service_name(family)}/{tunnel.server}")

    lab.watch()
    client.ping(2)
    assert tunnel.server not in lab.servers_that_saw(tunnel.child.spi_out)
    client.charon.close_all()
    assert client.connect(lab.vip[family]).server != tunnel.server


@families
def test_no_packet_is_lost_while_the_configuration_changes(lab: Lab, source: str, family: Family) -> None:
    config = configuration(lab.topology, source)
    added = [service["real_server"].pop() for service in config["service"]]
    lab.balancer.write(config)
    lab.balancer.hang_up()
    eventually(lambda: len(lab.balancer.service(family).servers) == 2, "the third server is gone")

    clients = [lab.clients["c1"], lab.clients["c2"]]
    for client in clients:
        client.connect(lab.vip[family])
    pings = [client.start_ping(0.01) for client in clients]

    def apply() -> None:
        for ping in pings:
            ping.await_answers(20)
        lab.balancer.write(config)
        lab.balancer.hang_up()

    try:
        for service in config["service"]:
            service["scheduler"] = "round-robin"
        apply()
        eventually(lambda: lab.balancer.service(family).scheduler == "round-robin", "the scheduler is changed")
        for service, server in zip(config["service"], added, strict=True):
            service["real_server"].append(server)
        apply()
        eventually(lambda: len(lab.balancer.service(family).servers) == 3, "the third server is there")
        for service in config["service"]:
            service["real_server"][0]["weight"] = 7
        apply()
        eventually(lambda: lab.balancer.server(family, "rs1").weight == 7, "the weight is changed")
        for ping in pings:
            ping.await_answers(20)
            assert not ping.finish().gaps
    finally:
        for ping in pings:
            ping.abandon()
