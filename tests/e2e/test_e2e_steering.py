"""Services set up in other ways than the default: persistence per IKE SA, pools of source addresses."""

from __future__ import annotations

import pytest
from harness.balancer import configuration
from harness.lab import Lab
from harness.plan import Family
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

families = pytest.mark.parametrize("family", list(Family))


@families
def test_clients_behind_one_nat_get_a_server_each_when_persistence_is_by_ike_sa(fresh_lab: Lab, family: Family) -> None:
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent", persistence="ike-spi"))
    lab.balancer.start()
    clients = [lab.clients["n1"], lab.clients["n2"]]
    first, second = (client.connect(lab.vip[family]) for client in clients)
    assert first.server != second.server
    for client, tunnel in zip(clients, (first, second), strict=True):
        rekeyed = client.rekey("ike")
        client.await_data()
        spis = (tunnel.sa.initiator_spi, tunnel.child.spi_out, rekeyed.sa.initiator_spi, rekeyed.child.spi_out)
        assert lab.servers_that_saw(*spis) == {tunnel.server}


def test_servers_see_only_the_pools_addresses_and_clients_spread_over_them(fresh_lab: Lab) -> None:
    lab = fresh_lab
    pool = {address for addresses in lab.topology.snat[1:] for address in addresses.values()}
    config = configuration(lab.topology, "snat", scheduler="fixed")
    for service, family in zip(config["service"], Family, strict=True):
        service["snat_addresses"] = [addresses[family] for addresses in lab.topology.snat[1:]]
    lab.balancer.write(config)
    lab.balancer.start()
    for family in Family:
        sources = set()
        for name in ("c1", "c2"):
            client = lab.clients[name]
            tunnel = client.connect(lab.vip[family])
            client.await_data()
            sources.add(lab.servers[tunnel.server].sa_of(client).remote_host)
        assert sources == {addresses[family] for addresses in lab.topology.snat[1:]}
        lab.tidy()
    for name in lab.servers:
        assert {address for address, _ in lab.seen_by(name).peers} <= pool


@families
def test_a_server_reaches_an_idle_client_that_has_no_socket(fresh_lab: Lab, family: Family) -> None:
    """Transparent flows have none of their own, be they busy or idle."""
    lab = fresh_lab
    lab.balancer.write(configuration(lab.topology, "transparent"))
    lab.balancer.start()
    idle, busy = lab.clients["c1"], lab.clients["c2"]
    tunnel = idle.connect(lab.vip[family])
    busy.connect(lab.vip[family])
    busy.await_data()
    assert lab.balancer.status().open_sockets == 0

    server = lab.servers[tunnel.server]
    server.rekey(idle, "child")
    idle.await_change(tunnel, "child")
    idle.await_data()
    server.delete(idle)
    eventually(lambda: not idle.charon.sas(), "the client hears that the server closed the tunnel")
