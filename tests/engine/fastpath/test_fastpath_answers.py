"""Snat flows without sockets: the kernel brings what is sent to their ports to one socket, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bpf_objects import ip, private_network, require_bpf

from engine.fastpath.answers import MAX_SOURCES, Answers
from engine.net import snat_guises
from engine.net.impersonation import Guise
from engine.net.snat_guises import SnatGuises, spare_ports
from engine.sessions.flow import Flow, Port
from tests.engine.net.net_gateway import Gateway, Peer, gateway
from tests.engine.sessions.session_world import IKE, NAT_T, auth, auth_answer, esp, informational, init, init_answer

HOSTS = ["127.0.0.1", "::1"]


class World:
    """A gateway in a network of its own, whose snat flows go without sockets."""

    def __init__(self, gate: Gateway, guises: SnatGuises, answers: Answers) -> None:
        self.gate = gate
        self.guises = guises
        self.answers = answers
        self.host = gate.servers[0].host
        self.endpoints = [gate.servers[0].port(port).address[:2] for port in Port]

    def spare(self) -> None:
        """Let flows go without sockets from now on."""
        assert self.answers.follow([self.host], self.endpoints)
        self.guises.allow([self.host], self.endpoints)

    def flow(self, port: Port) -> Flow:
        (flow,) = self.gate.service.flows[port].values()
        return flow


@pytest.fixture(params=HOSTS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    require_bpf()
    with _world(request.param) as built:
        yield built


@contextmanager
def _world(host: str) -> Iterator[World]:
    with private_network():
        ip("link set lo up")
        with gateway(host, servers=1, snat_addresses=[host]) as gate:
            guises = SnatGuises(gate.pump, gate.forwarder)
            with guises, Answers(guises.open(), guises.ports) as answers:
                built = World(gate, guises, answers)
                built.spare()
                yield built


def test_a_tunnel_takes_no_socket(world: World) -> None:
    """Its messages and ESP go both ways, from ports that no socket of this machine is given."""
    gate = world.gate
    client, (server,) = gate.client(), gate.servers
    client.send(IKE, init(1))
    ((_, ike_source),) = server.ike.received()
    server.ike.send(init_answer(1), ike_source)
    gate.settle()
    client.send(NAT_T, auth(1))
    ((_, nat_t_source),) = server.nat_t.received()
    server.nat_t.send(auth_answer(1), nat_t_source)
    gate.settle()
    client.send(NAT_T, esp())
    server.nat_t.send(esp(), nat_t_source)
    gate.settle()
    assert client.received(IKE) == [init_answer(1)]
    assert client.received(NAT_T) == [auth_answer(1), esp()]
    assert server.nat_t.received() == [(esp(), nat_t_source)]
    assert len(gate.forwarder.upstreams) == 0
    for port, source in ((IKE, ike_source), (NAT_T, nat_t_source)):
        flow = world.flow(port)
        assert (flow.source or ())[:2] == source[:2]
        assert source[0] == world.host
        assert source[1] in world.guises.ports
    assert not gate.service.drops


def test_what_is_not_an_answer_reaches_its_own_socket(world: World) -> None:
    """A port that flows have may be some program's: it gets all that real servers did not send, and theirs if asked."""
    gate, port = world.gate, world.guises.ports[0]
    (server,) = gate.servers
    daemon, stranger = Peer(world.host, port), Peer(world.host)
    stranger.send(b"for the daemon", daemon.address)
    assert [data for data, _ in daemon.received()] == [b"for the daemon"]
    daemon.socket.connect(server.ike.address)
    server.ike.send(b"an answer to the daemon", daemon.address)
    assert [data for data, _ in daemon.received()] == [b"an answer to the daemon"]
    probe = Peer(world.host)
    server.ike.send(b"an answer to a probe", probe.address)
    assert [data for data, _ in probe.received()] == [b"an answer to a probe"]
    for peer in (daemon, stranger, probe):
        peer.close()


@pytest.mark.parametrize("size", [3_000, 60_000])
def test_what_is_too_big_for_one_packet_leaves_from_the_same_port(world: World, size: int) -> None:
    """By a socket that the flow then has; its answers come there, and no other flow gets that port meanwhile."""
    gate = world.gate
    ip("link set lo mtu 1500")
    client, (server,) = gate.client(), gate.servers
    client.send(NAT_T, auth(1))
    ((_, source),) = server.nat_t.received()
    big = auth(1) + bytes(size)
    client.send(NAT_T, big)
    client.send(NAT_T, informational(1))
    assert server.nat_t.received() == [(big, source), (informational(1), source)]
    assert len(gate.forwarder.upstreams) == 1
    server.nat_t.send(informational(1), source)
    gate.settle()
    assert client.received(NAT_T) == [informational(1)]
    flow = world.flow(NAT_T)
    assert list(gate.forwarder.upstreams.disguised.values()) == [flow]
    gate.forwarder.table.close(flow.sessions[0])
    assert len(gate.forwarder.upstreams) == 0
    assert not gate.forwarder.upstreams.disguised


def test_without_the_kernels_part_flows_go_on_with_sockets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the fast path is switched off: tunnels keep their ports, and new ones get sockets from the first."""
    monkeypatch.setattr(snat_guises, "CHANGED_AT_ONCE", 1)
    gate = world.gate
    client, (server,) = gate.client(), gate.servers
    client.send(IKE, init(1))
    client.send(NAT_T, auth(1))
    ((_, source),) = server.nat_t.received()
    world.guises.allow((), ())
    assert list(world.guises.give_sockets()) == [1, 1]
    world.answers.follow((), ())
    client.send(NAT_T, informational(1))
    assert server.nat_t.received() == [(informational(1), source)]
    server.nat_t.send(esp(), source)
    gate.settle()
    assert client.received(NAT_T) == [esp()]
    gate.client().send(IKE, init(2))
    assert len(gate.forwarder.upstreams) == 3
    assert server.ike.received()[-1][1][1] not in world.guises.ports
    world.spare()
    gate.client().send(IKE, init(3))
    assert len(gate.forwarder.upstreams) == 3


def test_a_flow_has_its_port_again_when_the_kernel_does_its_part_no_more(world: World) -> None:
    """Its socket was closed to make room: with another port, its server would take it for a client that has moved."""
    gate = world.gate
    client, (server,) = gate.client(), gate.servers
    client.send(NAT_T, auth(1))
    ((_, source),) = server.nat_t.received()
    world.guises.allow((), ())
    assert sum(world.guises.give_sockets()) == 1
    gate.forwarder.upstreams.close(world.flow(NAT_T))
    client.send(NAT_T, informational(1))
    assert server.nat_t.received() == [(informational(1), source)]


def test_a_flow_has_its_port_again_unless_another_has_it(world: World) -> None:
    """After it went to sleep without one; else it gets another, and neither gets the other's answers."""
    gate = world.gate
    client, (server,) = gate.client(), gate.servers
    client.send(IKE, init(1))
    flow, upstreams = world.flow(IKE), gate.forwarder.upstreams
    before = flow.source
    upstreams.close(flow)
    client.send(IKE, init(1))
    assert flow.source == before
    assert isinstance(flow.upstream, Guise)
    key = flow.upstream.key
    upstreams.close(flow)
    upstreams.disguised[key] = other = Flow(gate.service, IKE, flow.client, flow.server, 0.0)
    client.send(IKE, init(1))
    assert flow.source is not None
    assert flow.source != before
    assert upstreams.disguised[key] is other
    assert len({source for _, source in server.ike.received()}) == 2


def test_late_answers_and_too_many_addresses(world: World) -> None:
    """What comes for a flow that is no more begins nothing; the kernel takes all addresses that there are, or none."""
    gate = world.gate
    client, (server,) = gate.client(), gate.servers
    client.send(IKE, init(1))
    ((_, source),) = server.ike.received()
    gate.forwarder.table.close(world.flow(IKE).sessions[0])
    server.ike.send(init_answer(1), source)
    gate.settle()
    assert client.received(IKE) == []
    assert not gate.forwarder.table.sessions
    many = [f"10.{number >> 8}.{number & 255}.1" for number in range(MAX_SOURCES + 1)]
    assert not world.answers.follow(many, world.endpoints)
    assert world.answers.follow(many[1:], world.endpoints)


@pytest.mark.parametrize(
    ("kernels", "spare"),
    [("32768\t60999", range(8192, 32768)), ("10000\t60000", range(60001, 65536)), ("1024\t65535", range(0))],
)
def test_ports_are_beside_those_that_the_kernel_chooses_from(
    kernels: str, spare: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer stretch above the ports of most daemons; none where it is short."""
    setting = tmp_path / "ip_local_port_range"
    setting.write_text(f"{kernels}\n")
    monkeypatch.setattr(snat_guises, "LOCAL_PORTS", setting)
    assert spare_ports() == spare


def test_an_address_that_the_machine_has_not_is_left_to_sockets(world: World) -> None:
    """They find out, and count it."""
    world.guises.allow(["203.0.113.99"], world.endpoints)
    world.gate.client().send(IKE, init(1))
    assert len(world.gate.forwarder.upstreams) == 1


def test_a_server_whose_answers_do_not_come_yet_is_left_to_sockets(world: World) -> None:
    """As when it has just been configured."""
    world.guises.allow([world.host], world.endpoints[1:])
    client = world.gate.client()
    client.send(IKE, init(1))
    assert len(world.gate.forwarder.upstreams) == 1
    client.send(NAT_T, auth(1))
    assert len(world.gate.forwarder.upstreams) == 1
