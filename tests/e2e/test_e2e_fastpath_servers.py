"""What happens to servers and clients takes effect on data that passes in the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness.balancer import service_name
from harness.fast_path import await_fast, check_fast, start
from harness.lab import Lab
from harness.peers import Client, Profile, Server
from harness.plan import Family
from harness.waiting import eventually

pytestmark = pytest.mark.e2e

WITHIN_S = 1.0


@pytest.fixture(autouse=True)
def _engine(fast_lab: Lab) -> Iterator[None]:
    start(fast_lab, "transparent")
    yield
    fast_lab.balancer.close()
    fast_lab.tidy()


def tunnels(lab: Lab, family: Family) -> tuple[Client, Server, Client]:
    """A client, its server, and a client of the other server."""
    first, second = lab.clients["c1"], lab.clients["c2"]
    for client in (first, second):
        client.connect(lab.vip[family], Profile.CERT)
    for client in (first, second):
        await_fast(lab, client)
    server = lab.servers[first.tunnel().server]
    assert server.node.name != second.tunnel().server
    assert leads_to(lab, server, family)
    return first, server, second


def leads_to(lab: Lab, server: Server, family: Family) -> bool:
    """Whether the kernel has a flow to or from a server."""
    address = server.node.addresses[family]
    return any(address in (flow.source, flow.destination) for flow in lab.balancer.kernel_flows())


def check_gone_elsewhere(lab: Lab, client: Client, server: Server, family: Family, began_s: float) -> None:
    """The kernel sends nothing to the server any more, and the client's packets go to the other one."""
    eventually(lambda: not leads_to(lab, server, family), "the kernel sends nothing there", timeout_s=WITHIN_S)
    assert time.monotonic() - began_s < WITHIN_S
    lab.watch()
    spi = client.tunnel().child.spi_out
    assert not client.ping(2).answered, "no other server has its keys"
    assert lab.servers_that_saw(spi) == lab.servers.keys() - {server.node.name}


def check_reconnects_elsewhere(lab: Lab, client: Client, server: Server, family: Family) -> None:
    client.charon.close_all()
    assert client.connect(lab.vip[family], Profile.CERT).server != server.node.name
    check_fast(lab, client)


def test_a_dead_servers_flows_leave_the_kernel(fast_lab: Lab) -> None:
    """As soon as the health check has found it dead; the other server's tunnels do not notice."""
    lab, family = fast_lab, Family.IPV4
    client, server, other = tunnels(lab, family)
    server.charon.kill()
    try:
        eventually(lambda: lab.balancer.server(family, server.node.name).health == "down", "the server is seen dead")
        check_gone_elsewhere(lab, client, server, family, time.monotonic())
        check_fast(lab, other)
        check_reconnects_elsewhere(lab, client, server, family)
    finally:
        server.start()


@pytest.mark.parametrize(("how", "family"), [("disable", Family.IPV4), ("move", Family.IPV6)])
def test_clients_leave_a_server_in_the_kernel_at_the_operators_word(fast_lab: Lab, how: str, family: Family) -> None:
    """Whether it takes no clients any more, or one of them was told to go elsewhere."""
    lab = fast_lab
    client, server, other = tunnels(lab, family)
    elsewhere = f"{service_name(family)}/{other.tunnel().server}"
    words = {
        "disable": ("disable", f"{service_name(family)}/{server.node.name}"),
        "move": ("move", client.node.addresses[family], elsewhere),
    }
    lab.balancer.command(*words[how], "-y")
    check_gone_elsewhere(lab, client, server, family, time.monotonic())
    check_fast(lab, other)
    check_reconnects_elsewhere(lab, client, server, family)


def test_a_cleared_clients_flow_leaves_the_kernel(fast_lab: Lab) -> None:
    """Its server has no others; what the client sends then finds its way anew."""
    lab, family = fast_lab, Family.IPV4
    client, server, other = tunnels(lab, family)
    lab.balancer.command("clear", client.node.addresses[family], "-y")
    eventually(lambda: not leads_to(lab, server, family), "the kernel sends nothing there", timeout_s=WITHIN_S)
    check_fast(lab, other)
