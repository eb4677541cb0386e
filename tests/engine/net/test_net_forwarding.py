"""Datagrams over real loopback sockets: through the service to one server and back, whatever their size."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest
import trio
from net_gateway import Client, Gateway, Peer, VpnServer, gateway

from engine.config.schema import PersistenceKind, Source
from engine.net.batches import SLOTS
from engine.net.listener import BATCHES_AT_ONCE, Listener
from engine.sessions.flow import Port
from engine.sessions.session import Phase, Session
from engine.wire.encapsulation import NON_ESP_MARKER
from tests.engine.sessions.session_world import (
    IKE,
    KEEPALIVE,
    NAT_T,
    auth,
    auth_answer,
    esp,
    informational,
    init,
    init_answer,
)

HOSTS = ["127.0.0.1", "::1"]
MAX_IPV4_UDP_BYTES = 65_507


def answer(gate: Gateway, server: VpnServer, port: Port, datagram: bytes, to: object) -> None:
    server.port(port).send(datagram, to)
    gate.settle()


def connect(gate: Gateway, client: Client, spi: int) -> VpnServer:
    """Set an IKE SA up; returns its server."""
    client.send(IKE, init(spi))
    ((server, source),) = [(server, source) for server in gate.servers for _, source in server.ike.received()]
    answer(gate, server, IKE, init_answer(spi), source)
    client.send(NAT_T, auth(spi))
    ((_, source),) = server.nat_t.received()
    answer(gate, server, NAT_T, auth_answer(spi), source)
    client.send(NAT_T, KEEPALIVE)
    assert [datagram for datagram, _ in server.nat_t.received()] == [KEEPALIVE]
    assert client.received(IKE) == [init_answer(spi)]
    assert client.received(NAT_T) == [auth_answer(spi)]
    assert gate.service.by_spi[spi].phase is Phase.ESTABLISHED
    return server


@pytest.fixture(params=HOSTS)
def gate(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with gateway(request.param) as opened:
        yield opened


def test_both_ports_meet_one_server(gate: Gateway) -> None:
    """Three clients, each with 500 and 4500 on one server; what each is answered comes from the service's address."""
    clients = [gate.client() for _ in range(3)]
    for spi, client in enumerate(clients, start=1):
        connect(gate, client, spi)
    assert not gate.service.drops


@pytest.mark.parametrize("size", [1_400, 4_000, 20_000, 60_000])
def test_datagrams_of_any_size_pass_both_ways(gate: Gateway, size: int) -> None:
    """IKE on both ports and ESP, up to 60000 bytes, arrive whole and unchanged in either direction."""
    client = gate.client()
    server = connect(gate, client, 1)
    big_ike = auth(1)[:4] + auth(1)[4:] + os.urandom(size - len(auth(1)))
    big_esp = esp() + os.urandom(size - len(esp()))
    client.send(IKE, big_ike[4:])
    ((first, ike_source),) = server.ike.received()
    client.send(NAT_T, big_ike)
    client.send(NAT_T, big_esp)
    (second, nat_t_source), (third, _) = server.nat_t.received()
    assert [first, second, third] == [big_ike[4:], big_ike, big_esp]
    answer(gate, server, IKE, big_ike[4:], ike_source)
    answer(gate, server, NAT_T, big_ike, nat_t_source)
    answer(gate, server, NAT_T, big_esp, nat_t_source)
    assert client.received(IKE) == [big_ike[4:]]
    assert client.received(NAT_T) == [big_ike, big_esp]
    assert not gate.service.drops


def test_largest_datagram_there_is() -> None:
    """65507 bytes, the most that IPv4 carries in UDP."""
    with gateway() as gate:
        client = gate.client()
        server = connect(gate, client, 1)
        largest = esp() + bytes(MAX_IPV4_UDP_BYTES - len(esp()))
        client.send(NAT_T, largest)
        ((datagram, source),) = server.nat_t.received()
        assert datagram == largest
        answer(gate, server, NAT_T, largest, source)
        assert client.received(NAT_T) == [largest]


def test_ipv4_and_ipv6_services_side_by_side() -> None:
    """Datagrams of one family leave no trace in how clients of the other are known and answered."""
    with gateway("127.0.0.1") as four, gateway("::1") as six:
        for spi in (1, 2, 3):
            for gate in (four, six):
                client = gate.client()
                connect(gate, client, spi)
                assert gate.service.by_spi[spi].host == gate.address[IKE][0]


def test_bytes_and_packets_are_counted_both_ways(gate: Gateway) -> None:
    """Flow and server agree on what passed, on the shortcut for ESP as elsewhere."""
    client = gate.client()
    server = connect(gate, client, 1)
    session = gate.service.by_spi[1]
    flow = next(flow for flow in session.flows if flow.port is NAT_T)
    before = (flow.packets_in, flow.bytes_in, flow.packets_out, flow.bytes_out)
    for _ in range(10):
        client.send(NAT_T, esp())
    source = server.nat_t.received()[0][1]
    for _ in range(7):
        answer(gate, server, NAT_T, esp(), source)
    after = (flow.packets_in, flow.bytes_in, flow.packets_out, flow.bytes_out)
    size = len(esp())
    assert [b - a for a, b in zip(before, after, strict=True)] == [10, 10 * size, 7, 7 * size]
    flows = session.flows
    assert session.server.packets_in == sum(flow.packets_in for flow in flows)
    assert session.server.bytes_out == sum(flow.bytes_out for flow in flows)


def test_refusals_of_a_dead_server_are_counted(gate: Gateway) -> None:
    """ICMP port unreachable shows as server-refused, for ESP on the shortcut and for IKE; nothing else happens."""
    client = gate.client()
    server = connect(gate, client, 1)
    server.ike.close()
    server.nat_t.close()
    for _ in range(4):
        client.send(NAT_T, esp())
        client.send(NAT_T, informational(1))
    assert gate.service.drops.keys() == {"server-refused"}
    assert gate.service.drops["server-refused"] >= 7
    assert gate.service.by_spi[1].phase is Phase.ESTABLISHED


def test_server_that_comes_back_gets_the_next_datagram() -> None:
    """The error that a dead server left in the socket does not cost a datagram once it lives again."""
    with gateway(servers=1) as gate:
        client = gate.client()
        server = connect(gate, client, 1)
        _, port = server.nat_t.address
        server.nat_t.close()
        client.sockets[NAT_T].send(esp(), gate.address[NAT_T])
        gate.listeners[NAT_T].drain(0.0)
        server.nat_t = Peer(server.host, port)
        client.send(NAT_T, informational(1))
        assert [datagram for datagram, _ in server.nat_t.received()] == [informational(1)]


def test_upstream_sockets_are_bounded_and_come_back_with_their_port() -> None:
    """With room for two sockets, five clients take turns; each is the same source to its server every time."""
    with gateway(servers=1, max_open=2) as gate:
        clients = [gate.client() for _ in range(5)]
        server = gate.servers[0]
        sources: dict[int, set[object]] = {}
        for turn in range(3):
            for number, client in enumerate(clients):
                gate.now_s += 1
                client.send(NAT_T, esp(0x1000 + number))
                assert len(gate.forwarder.upstreams) <= 2
                ((_, source),) = server.nat_t.received()
                sources.setdefault(number, set()).add(source)
                answer(gate, server, NAT_T, esp(turn + 1), source)
                assert client.received(NAT_T) == [esp(turn + 1)]
        assert [len(found) for found in sources.values()] == [1] * 5
        assert gate.forwarder.upstreams.closed_for_room == 13


def test_port_taken_meanwhile_is_replaced() -> None:
    """Where somebody else took the port of a closed socket, the client gets another one and goes on."""
    with gateway(servers=1) as gate:
        client = gate.client()
        server = connect(gate, client, 1)
        client.send(NAT_T, esp())
        ((_, old),) = server.nat_t.received()
        flow = next(flow for flow in gate.service.by_spi[1].flows if flow.port is NAT_T)
        gate.forwarder.upstreams.close(flow)
        thief = Peer(old[0], old[1])
        client.send(NAT_T, esp())
        ((_, new),) = server.nat_t.received()
        assert new != old
        answer(gate, server, NAT_T, esp(), new)
        assert client.received(NAT_T) == [esp()]
        thief.close()


def test_pool_addresses_stand_for_clients() -> None:
    """Each session's two ports come from one address of the pool, sessions are spread over all of them."""
    with gateway(servers=1, snat_addresses=["127.9.9.1-127.9.9.3"]) as gate:
        clients = [gate.client() for _ in range(6)]
        for spi, client in enumerate(clients, start=1):
            connect(gate, client, spi)
            hosts = {flow.source[0] for flow in gate.service.by_spi[spi].flows if flow.source}
            assert hosts == {gate.service.by_spi[spi].source_address}
        use = gate.service.servers["s0"].source_use
        assert use == {"127.9.9.1": 2, "127.9.9.2": 2, "127.9.9.3": 2}


def test_pool_address_that_is_not_there_is_counted() -> None:
    """An address of the pool that the machine has lost costs the datagram and shows as no-source-port."""
    with gateway(servers=1, snat_addresses=["203.0.113.99"]) as gate:
        client = gate.client()
        client.send(IKE, init(1))
        assert gate.service.drops == {"source-address-lost": 1, "no-source-port": 1}


def test_lost_pool_address_costs_no_client_its_tunnel() -> None:
    """An address that the machine has lost is passed over, though it is always the one least used."""
    with gateway(servers=1, snat_addresses=["203.0.113.99", "127.0.0.1"]) as gate:
        for number in range(1, 4):
            connect(gate, gate.client(), number)
        assert gate.service.drops["source-address-lost"] >= 3
        assert gate.service.drops["no-source-port"] == 0


def test_one_flooding_client_does_not_starve_another() -> None:
    """However much waits on one socket, each round takes a bounded share of it and something of all others."""
    with gateway() as gate:
        flooder, other = gate.client(), gate.client()
        flooded = connect(gate, flooder, 1)
        connect(gate, other, 2)
        for _ in range(2 * BATCHES_AT_ONCE * SLOTS):
            flooder.sockets[NAT_T].send(esp(), gate.address[NAT_T])
        other.sockets[IKE].send(init(3), gate.address[IKE])
        assert gate.pump.round(0.0)
        assert any(datagram == init(3) for server in gate.servers for datagram, _ in server.ike.received())
        assert len(flooded.nat_t.received()) == BATCHES_AT_ONCE * SLOTS
        gate.settle()
        assert len(flooded.nat_t.received()) == BATCHES_AT_ONCE * SLOTS


def test_one_flooding_server_does_not_starve_another() -> None:
    """The same for the way back: a server's burst on one flow does not keep the others' answers waiting."""
    with gateway(persistence=PersistenceKind.NONE) as gate:
        busy, quiet = gate.client(), gate.client()
        busy_server = connect(gate, busy, 1)
        quiet_server = connect(gate, quiet, 2)
        assert busy_server is not quiet_server
        sources = []
        for client, server in ((busy, busy_server), (quiet, quiet_server)):
            client.send(NAT_T, esp())
            ((_, source),) = server.nat_t.received()
            sources.append(source)
        for number in range(100):
            busy_server.nat_t.send(esp(number + 1), sources[0])
        quiet_server.nat_t.send(esp(), sources[1])
        gate.pump.round(0.0)
        assert quiet.received(NAT_T) == [esp()]
        assert 0 < len(busy.received(NAT_T)) < 100
        gate.settle()


def test_answers_keep_their_order_and_none_is_lost() -> None:
    """A burst over many flows, longer than any batch, reaches each client in order."""
    with gateway(servers=1) as gate:
        server = gate.servers[0]
        clients = [gate.client() for _ in range(20)]
        sources = []
        for client in clients:
            client.send(NAT_T, esp())
            ((_, source),) = server.nat_t.received()
            sources.append(source)
            answer(gate, server, NAT_T, esp(), source)
            client.received(NAT_T)
        burst = [esp(0x100 + number) for number in range(30)]
        for datagram in burst:
            for source in sources:
                server.nat_t.send(datagram, source)
        gate.settle()
        for client in clients:
            assert client.received(NAT_T) == burst


@pytest.mark.parametrize(
    ("port", "datagram", "reason"),
    [
        (IKE, b"", "runt"),
        (IKE, KEEPALIVE, "runt"),
        (NAT_T, b"", "runt"),
        (NAT_T, b"\xff\xff\xff", "runt"),
        (NAT_T, esp()[:7], "runt"),
        (NAT_T, KEEPALIVE, "keepalive-without-flow"),
        (IKE, init(1)[:40], "truncated"),
        (IKE, bytes(8) + init(1)[8:], "zero-spi"),
        (NAT_T, init(0xABCD << 48), None),
    ],
)
def test_malformed_is_counted_by_reason(gate: Gateway, port: Port, datagram: bytes, reason: str | None) -> None:
    """What is no IKE, ESP or keepalive goes nowhere; what only looks odd on 4500 is ESP."""
    client = gate.client()
    client.send(port, datagram)
    passed = [data for server in gate.servers for data, _ in server.ike.received() + server.nat_t.received()]
    assert gate.service.drops == ({reason: 1} if reason else {})
    assert passed == ([] if reason else [datagram])


def test_short_datagram_does_not_inherit_what_was_in_the_buffer(gate: Gateway) -> None:
    """A runt after a long datagram is judged by its own bytes, from the client's side and from the server's."""
    client = gate.client()
    server = connect(gate, client, 1)
    client.send(NAT_T, esp())
    source = server.nat_t.received()[0][1]
    for runt in (b"\x12\x34", esp()[:5], b"\x00\x00\x00", b""):
        client.send(NAT_T, runt)
        answer(gate, server, NAT_T, bytes(4) + runt, source)
    assert gate.service.drops == {"runt": 4, "from-server-runt": 4}
    assert server.nat_t.received() == []
    assert client.received(NAT_T) == []


def test_broken_listener_is_counted(gate: Gateway) -> None:
    """An error of the listening socket itself is counted and does not end the engine."""
    listener = gate.listeners[IKE]
    working = listener.socket
    listener.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.socket.close()
    listener.drain(0.0)
    assert gate.service.drops == {"listener-error": 1}
    listener.socket = working


def test_ended_flows_take_their_sockets_along(gate: Gateway) -> None:
    """When sessions end, sockets, file descriptors and the listeners' own keys go with them."""
    clients = [gate.client() for _ in range(5)]
    files = len(os.listdir("/proc/self/fd"))
    for spi, client in enumerate(clients, start=1):
        connect(gate, client, spi)
    for session in list(gate.forwarder.table.sessions.values()):
        gate.forwarder.table.close(session)
    assert len(gate.forwarder.upstreams) == 0
    assert not any(listener.flows for listener in gate.listeners.values())
    assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.trio
async def test_pump_serves_under_trio_and_lets_others_run() -> None:
    """The loop forwards while it is cancelled by nobody, and traffic without pause does not keep timers waiting."""
    with gateway(servers=1) as gate:
        client, server = gate.client(), gate.servers[0]
        connect(gate, client, 1)
        forwarded = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.pump.run)
            for _ in range(50):
                for _ in range(40):
                    client.sockets[NAT_T].send(esp(), gate.address[NAT_T])
                await trio.lowlevel.checkpoint()
                forwarded += len(server.nat_t.received())
            with trio.fail_after(10):
                while forwarded < 2000:
                    await trio.lowlevel.checkpoint()
                    forwarded += len(server.nat_t.received())
            nursery.cancel_scope.cancel()
        assert forwarded == 2000


@pytest.mark.parametrize("source", [Source.SNAT, Source.TRANSPARENT])
def test_a_flows_datagrams_keep_their_order_within_a_batch(source: Source) -> None:
    """IKE, ESP and keepalives that arrive together leave in the order in which they came."""
    if source is Source.TRANSPARENT and os.geteuid() != 0:
        pytest.skip("raw sockets need root")
    with gateway(servers=1, source=source) as gate:
        client, (server,) = gate.client(), gate.servers
        gate.forwarder.table.set_phase(established(gate, client), Phase.ESTABLISHED)
        sent = [esp() + b"1", informational(1), esp() + b"2", KEEPALIVE, esp() + b"3", informational(1), esp() + b"4"]
        for datagram in sent:
            client.sockets[NAT_T].send(datagram, gate.address[NAT_T])
        gate.settle()
        assert [datagram for datagram, _ in server.nat_t.received()] == sent


def established(gate: Gateway, client: Client) -> Session:
    """A session that begins on 4500, with its first message out of the way."""
    client.send(NAT_T, NON_ESP_MARKER + init(1))
    gate.servers[0].nat_t.received()
    return gate.service.by_spi[1]


def test_flow_that_gives_way_within_a_batch_is_begun_anew_and_leaves_no_socket() -> None:
    """Two clients arrive together at a table with room for one: both are heard, the later one has the room."""
    with gateway(servers=1) as gate:
        gate.forwarder.table.max_sessions = 1
        clients = [gate.client(), gate.client()]
        for spi, client in enumerate(clients, start=1):
            client.sockets[IKE].send(init(spi), gate.address[IKE])
        gate.settle()
        assert [datagram for datagram, _ in gate.servers[0].ike.received()] == [init(1), init(2)]
        assert not gate.service.drops
        assert list(gate.service.by_spi) == [2]
        assert len(gate.forwarder.upstreams) == 1


def test_what_came_on_a_guess_goes_where_the_next_of_its_batch_shows_it_belongs() -> None:
    """A client that moved sends ESP with an SPI that nobody knows, then IKE: both reach its server, in order."""
    with gateway(persistence=PersistenceKind.IKE_SPI) as gate:
        guessed, home = connect(gate, gate.client(), 1), connect(gate, gate.client(), 2)
        assert guessed is not home
        mover = gate.client()
        sent = [esp(0x77), informational(2)]
        for datagram in sent:
            mover.sockets[NAT_T].send(datagram, gate.address[NAT_T])
        gate.settle()
        assert [datagram for datagram, _ in home.nat_t.received()] == sent
        assert not guessed.nat_t.received()
        assert not gate.service.drops


def test_listener_that_takes_anothers_place_goes_on_with_its_flows() -> None:
    """As when one of a service's ports changes: until its sessions have ended, their clients send to the other port."""
    with gateway(servers=1) as gate:
        client, (server,) = gate.client(), gate.servers
        connect(gate, client, 1)
        client.send(NAT_T, esp())
        ((_, source),) = server.nat_t.received()
        gate.pump.forget(gate.listeners[NAT_T].fileno())
        listener = Listener(gate.service, NAT_T, gate.forwarder, gate.listeners[NAT_T].socket)
        gate.forwarder.listeners["vpn", NAT_T] = gate.listeners[NAT_T] = listener
        gate.pump.watch(listener.fileno(), listener.drain)
        client.send(NAT_T, esp())
        assert server.nat_t.received() == [(esp(), source)]
        gate.forwarder.table.close(gate.service.by_spi[1])
        assert not gate.service.flows[NAT_T]
        assert not listener.flows


class FullPoll:
    """An epoll of a user who watches as many sockets as one may (epoll(7), max_user_watches)."""

    def register(self, sock: socket.socket, events: int) -> None:
        raise OSError(errno.ENOSPC, "no watch is left")


def test_socket_that_cannot_be_watched_is_not_sent_from(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers would never be read: the datagram is dropped and counted, and a later one has another socket."""
    client, upstreams = gate.client(), gate.forwarder.upstreams
    with monkeypatch.context() as crowded:
        crowded.setattr(upstreams, "poll", FullPoll())
        client.send(IKE, init(1))
    assert gate.service.drops == {"enospc": 1}
    assert len(upstreams) == 0
    connect(gate, client, 1)
