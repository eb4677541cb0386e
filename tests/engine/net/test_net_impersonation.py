"""Transparent flows without sockets of their own: what real servers get comes from the clients, whole and unchanged."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net_gateway import Client, Gateway, Peer, gateway
from scapy.layers.inet import IP, UDP

from engine.config.schema import Source
from engine.net import sockets
from engine.net.batches import SLOTS
from engine.net.catch_all import CatchAll
from engine.sessions.flow import Flow, Port
from tests.engine.sessions.session_world import IKE, KEEPALIVE, NAT_T, auth, esp, informational, init, init_answer

ROOT = Path(__file__).parents[3]
HOSTS = ["127.0.0.1", "::1"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")


@pytest.fixture(params=HOSTS)
def gate(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with gateway(request.param, servers=1, source=Source.TRANSPARENT) as opened:
        yield opened


def only_flow(gate: Gateway, port: Port) -> Flow:
    (flow,) = gate.service.flows[port].values()
    return flow


def sharing_client(gate: Gateway) -> Client:
    """A client that lets the engine have a socket with its address: here both are on one machine."""
    client = gate.client()
    for peer in client.sockets.values():
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return client


def test_server_sees_the_clients_own_address_and_port(gate: Gateway) -> None:
    """IKE on both ports, ESP and keepalives arrive as if the client had sent them there, and no socket was opened."""
    client, (server,) = gate.client(), gate.servers
    client.send(IKE, init(1))
    sent = [auth(1), esp(), KEEPALIVE]
    for datagram in sent:
        client.send(NAT_T, datagram)
    assert server.ike.received() == [(init(1), client.sockets[IKE].address)]
    assert server.nat_t.received() == [(datagram, client.sockets[NAT_T].address) for datagram in sent]
    assert len(gate.forwarder.upstreams) == 0
    flow = only_flow(gate, NAT_T)
    assert (flow.source, flow.packets_in, flow.bytes_in) == (flow.client, 3, sum(map(len, sent)))
    assert not gate.service.drops


@pytest.mark.parametrize("host", HOSTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payloads=st.lists(st.binary(max_size=1200), min_size=1, max_size=10))
def test_any_payload_has_a_right_checksum(host: str, payloads: list[bytes]) -> None:
    """Of odd and even sizes, zeros or not: the receiving kernel drops what has a wrong checksum, and drops nothing."""
    with gateway(host, servers=1, source=Source.TRANSPARENT) as gate:
        client, (server,) = gate.client(), gate.servers
        client.send(IKE, init(1))
        client.send(NAT_T, auth(1))
        flows = {port: only_flow(gate, port) for port in Port}
        for payload in payloads:
            for flow in flows.values():
                gate.forwarder.to_server(flow, memoryview(payload), 0.0)
        gate.forwarder.upstreams.flush()
        assert [datagram for datagram, _ in server.ike.received()][1:] == payloads
        assert [datagram for datagram, _ in server.nat_t.received()][1:] == payloads


def test_esp_over_ipv4_has_no_checksum_and_ike_has_one() -> None:
    """As RFC 3948 wants it; an independent implementation finds the same sum for IKE."""
    with gateway(servers=1, source=Source.TRANSPARENT) as gate, sniffer() as sniffed:
        client, (server,) = gate.client(), gate.servers
        client.send(IKE, init(1))
        client.send(NAT_T, auth(1))
        client.send(NAT_T, esp())
        found = {}
        for packet in packets(sniffed):
            if packet[UDP].dport in (server.ike.address[1], server.nat_t.address[1]):
                found[bytes(packet[UDP].payload)] = (packet[UDP].chksum, recomputed(packet))
        assert found[esp()][0] == 0
        for ike in (init(1), auth(1)):
            assert found[ike][0] == found[ike][1] != 0


def sniffer() -> socket.socket:
    """Hears every UDP packet that arrives over IPv4."""
    return socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)


def packets(sniffed: socket.socket) -> Iterator[IP]:
    while True:
        try:
            yield IP(sniffed.recv(65_535))
        except BlockingIOError:
            return


def recomputed(packet: IP) -> int:
    bare = packet.copy()
    del bare[UDP].chksum
    checksum: int = IP(bytes(bare))[UDP].chksum
    return checksum


def test_many_flows_leave_in_one_round(gate: Gateway) -> None:
    """More datagrams than a batch has room for, of several clients, each arrive once, in order, from their client."""
    (server,) = gate.servers
    clients = [gate.client() for _ in range(3)]
    for spi, client in enumerate(clients, 1):
        client.send(NAT_T, init_on_4500(spi))
    server.nat_t.received()
    rounds = SLOTS
    for number in range(rounds):
        for client in clients:
            client.sockets[NAT_T].send(esp() + bytes([number]), gate.address[NAT_T])
    gate.settle()
    arrived = server.nat_t.received()
    for client in clients:
        mine = [datagram[-1] for datagram, source in arrived if source == client.sockets[NAT_T].address]
        assert mine == list(range(rounds))
    assert len(arrived) == rounds * len(clients)


def init_on_4500(spi: int) -> bytes:
    return bytes(4) + init(spi)


@pytest.mark.parametrize("size", [1300, 4_000, 60_000])
def test_what_is_too_big_for_one_packet_leaves_by_a_socket(size: int) -> None:
    """Where it would need fragments the flow gets a socket, and goes on with it: nothing is lost or counted twice."""
    with gateway("::1", servers=1, source=Source.TRANSPARENT) as gate:
        client, (server,) = sharing_client(gate), gate.servers
        client.send(NAT_T, auth(1))
        big = auth(1) + os.urandom(size - len(auth(1)))
        client.send(NAT_T, big)
        client.send(NAT_T, informational(1))
        arrived = server.nat_t.received()
        assert arrived == [(datagram, client.sockets[NAT_T].address) for datagram in (auth(1), big, informational(1))]
        assert len(gate.forwarder.upstreams) == 1
        flow = only_flow(gate, NAT_T)
        assert (flow.packets_in, flow.bytes_in) == (3, sum(len(datagram) for datagram, _ in arrived))
        gate.forwarder.upstreams.close_idle(1e6, 60.0, 100)
        assert len(gate.forwarder.upstreams) == 0
        client.send(NAT_T, informational(1))
        assert server.nat_t.received() == [(informational(1), client.sockets[NAT_T].address)]
        assert not gate.service.drops


def test_without_the_privilege_each_flow_has_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """CAP_NET_RAW missing: the real server sees the same."""

    def refused(family: socket.AddressFamily) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(sockets, "raw", refused)
    with gateway(servers=1, source=Source.TRANSPARENT) as gate:
        client, (server,) = sharing_client(gate), gate.servers
        client.send(IKE, init(1))
        client.send(NAT_T, auth(1))
        assert server.ike.received() == [(init(1), client.sockets[IKE].address)]
        assert server.nat_t.received() == [(auth(1), client.sockets[NAT_T].address)]
        assert len(gate.forwarder.upstreams) == 2


def test_answers_of_known_flows_find_their_clients() -> None:
    """A batch of them, and another: the catch-all socket, which here has the client's address, has all passed on."""
    with gateway(servers=1, source=Source.TRANSPARENT) as gate:
        (server,) = gate.servers
        catch_all = CatchAll(socket.AF_INET, {"vpn": gate.service}, gate.forwarder)
        with catch_all.socket as client:
            client.sendto(init(1), gate.address[IKE])
            gate.settle()
            ((_, source),) = server.ike.received()
            assert source == client.getsockname()
            flow = only_flow(gate, IKE)
            for now_s in (1.0, 2.0):
                answers = [init_answer(1) + bytes(number) for number in range(20)]
                for answer in answers:
                    server.ike.send(answer, source)
                catch_all.drain(now_s)
                gate.forwarder.outbox.flush()
                assert [client.recvfrom(65_535) for _ in answers] == [(answer, gate.address[IKE]) for answer in answers]
                assert (flow.packets_out, flow.last_out_s) == (20 * now_s, now_s)
        assert gate.service.by_spi[1].messages[-1].size_bytes == len(answers[-1])


def test_answers_pass_strangers_datagrams_in_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody is waiting for, at the start, among answers and at the end of a full batch, holds none of them up."""
    # What is sent on comes back to the catch-all socket, which here has the client's address.
    monkeypatch.setattr("engine.net.catch_all.BATCHES_AT_ONCE", 1)
    with gateway(servers=1, source=Source.TRANSPARENT) as gate:
        (server,), stranger = gate.servers, Peer(HOSTS[0])
        catch_all = CatchAll(socket.AF_INET, {"vpn": gate.service}, gate.forwarder)
        with catch_all.socket as client:
            client.sendto(init(1), gate.address[IKE])
            gate.settle()
            source = client.getsockname()
            for strangers in ({0, 7, 8}, {0, SLOTS - 1}, {SLOTS - 2}):
                answers = []
                for number in range(SLOTS):
                    if number in strangers:
                        stranger.send(b"whatever", source)
                    else:
                        answers.append(init_answer(1) + bytes(number))
                        server.ike.send(answers[-1], source)
                catch_all.drain(1.0)
                # Another socket's turn, which gets nothing that anybody is waiting for either.
                gate.forwarder.outbox.slot_view[:8] = b"whatever"
                gate.forwarder.outbox.flush()
                assert [client.recvfrom(65_535) for _ in answers] == [(answer, gate.address[IKE]) for answer in answers]
        stranger.close()


def test_two_services_with_one_real_server_do_not_disturb_each_other() -> None:
    """A client that speaks to both has one tuple there: ending one flow leaves the other, ending both nothing."""
    with gateway(servers=1, source=Source.TRANSPARENT) as gate:
        client = gate.client()
        client.send(IKE, init(1))
        upstreams, flow = gate.forwarder.upstreams, only_flow(gate, IKE)
        twin = Flow(gate.service, IKE, flow.client, flow.server, 0.0)
        twin.peer = flow.peer
        upstreams.open(twin, "")
        upstreams.close(flow)
        assert list(upstreams.disguised.values()) == [twin]
        upstreams.close(twin)
        assert not upstreams.disguised


SMALL_LINK = """
import json, socket, subprocess, sys
sys.path[:0] = ["tests/engine/net"]
from net_gateway import gateway
from engine.config.schema import Source
from tests.engine.sessions.session_world import IKE, NAT_T, auth, init, informational
subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1500"], check=True)
out = {}
with gateway(servers=1, source=Source.TRANSPARENT) as gate:
    client, (server,) = gate.client(), gate.servers
    for peer in client.sockets.values():
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.send(IKE, init(1))
    big = auth(1) + bytes(4000)
    client.send(NAT_T, big)
    client.send(NAT_T, informational(1))
    out["arrived"] = [datagram == sent for (datagram, _), sent in zip(server.nat_t.received(), (big, informational(1)))]
    out["sockets"] = len(gate.forwarder.upstreams)
    (flow,) = gate.service.flows[IKE].values()
    subprocess.run(["ip", "route", "del", "local", "127.0.0.0/8", "table", "local"], check=True)
    subprocess.run(["ip", "route", "del", "local", "127.0.0.1", "table", "local"], check=True)
    gate.forwarder.to_server(flow, memoryview(informational(1)), 0.0)
    gate.forwarder.upstreams.flush()
    out["drops"] = dict(gate.service.drops)
    out["counted"] = [flow.packets_in, flow.bytes_in == len(init(1)), flow.server.packets_in]
print(json.dumps(out))
"""


def test_small_link_and_missing_route() -> None:
    """On a link of 1500 bytes the kernel fragments what is bigger; what cannot be sent is counted as dropped only."""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", SMALL_LINK],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "arrived": [True, True],
        "sockets": 1,
        "drops": {"unreachable": 1},
        "counted": [1, True, 3],
    }
