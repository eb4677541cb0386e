"""One service on loopback sockets, its real servers and clients: the data path driven one round at a time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from netaddr import IPAddress

from engine.config.addresses import expand_pool
from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import SchedulerKind, Source
from engine.config.schema import Service as ServiceConfig
from engine.events import EventLog
from engine.health.state import ServerHealth
from engine.net import sockets
from engine.net.forwarder import Forwarder
from engine.net.listener import Listener
from engine.net.pump import Pump
from engine.net.starvation import Starvation
from engine.policy.schedulers import make_scheduler
from engine.session_events import SessionEvents
from engine.sessions.flow import Port
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service

ROUNDS = 500
BUFFER_BYTES = 4 << 20


class Peer:
    """A UDP socket of a client or of a real server."""

    def __init__(self, host: str, port: int = 0) -> None:
        self.socket = socket.socket(sockets.family_of(host), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.socket.bind((host, port))

    @property
    def address(self) -> Any:
        return self.socket.getsockname()

    def send(self, datagram: bytes, to: Any) -> None:
        self.socket.sendto(datagram, to)

    def received(self) -> list[tuple[bytes, Any]]:
        """What has arrived: datagrams and their senders."""
        found = []
        while True:
            try:
                found.append(self.socket.recvfrom(65_535))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.socket.close()


class VpnServer:
    """A real server's two sockets."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.ike = Peer(host)
        self.nat_t = Peer(host)

    def port(self, port: Port) -> Peer:
        return self.ike if port is Port.IKE else self.nat_t


class Client:
    """A client with a socket for each of the service's ports."""

    def __init__(self, gate: Gateway) -> None:
        self.gate = gate
        host = gate.address[Port.IKE][0]
        self.sockets = {port: Peer(host) for port in Port}

    def send(self, port: Port, datagram: bytes) -> None:
        self.sockets[port].send(datagram, self.gate.address[port])
        self.gate.settle()

    def received(self, port: Port) -> list[bytes]:
        """What arrived; all of it must come from the service's own address and port."""
        found = self.sockets[port].received()
        assert {sender for _, sender in found} <= {self.gate.address[port]}
        return [datagram for datagram, _ in found]

    def close(self) -> None:
        for peer in self.sockets.values():
            peer.close()


class Gateway:
    """A service with its listeners, the forwarder and the pump; time stands still unless told otherwise."""

    def __init__(self, host: str, servers: list[VpnServer], *, max_open: int, **settings: Any) -> None:
        self.servers = servers
        self._clients: list[Client] = []
        self.now_s = 0.0
        self.forwarder = Forwarder(1000, max_open, Starvation(EventLog()), SessionEvents(EventLog()))
        self.pump = Pump(self.forwarder)
        self._sockets = {port: sockets.listener(host, 0) for port in Port}
        self.address = {port: sock.getsockname() for port, sock in self._sockets.items()}
        settings.setdefault("scheduler", SchedulerKind.ROUND_ROBIN)
        settings.setdefault("source", Source.SNAT)
        config = ServiceConfig(
            name="vpn",
            address=IPAddress(host),
            ike_port=self.address[Port.IKE][1],
            nat_t_port=self.address[Port.NAT_T][1],
            real_servers=[
                RealServerConfig(
                    name=f"s{number}",
                    address=IPAddress(server.host),
                    ike_port=server.ike.address[1],
                    nat_t_port=server.nat_t.address[1],
                )
                for number, server in enumerate(servers)
            ],
            **settings,
        )
        self.service = Service(
            config,
            {
                server.name: RealServer(server, (server.ike_port, server.nat_t_port), ServerHealth(3, 2, 0.0))
                for server in config.real_servers
            },
            make_scheduler(config.scheduler, key=b"key", random=Random(1)),
            tuple(str(address) for address in expand_pool(config.snat_addresses)),
            1000,
        )
        self.listeners = {port: Listener(self.service, port, self.forwarder, self._sockets[port]) for port in Port}
        for port, listener in self.listeners.items():
            self.forwarder.listeners["vpn", port] = listener
            self.pump.watch(listener.fileno(), listener.drain)

    def client(self) -> Client:
        """A new client; it goes with the gateway."""
        client = Client(self)
        self._clients.append(client)
        return client

    def settle(self) -> None:
        """Forward until nothing is left to forward."""
        for _ in range(ROUNDS):
            if not self.pump.round(self.now_s):
                return
        raise AssertionError("the pump finds something in every round")

    def close(self) -> None:
        for listener in self.listeners.values():
            self.pump.forget(listener.fileno())
        self.forwarder.upstreams.close_all()
        self.forwarder.upstreams.poll.close()
        for sock in self._sockets.values():
            sock.close()
        for client in self._clients:
            client.close()
        for server in self.servers:
            server.ike.close()
            server.nat_t.close()


@contextmanager
def gateway(host: str = "127.0.0.1", *, servers: int = 2, max_open: int = 100, **settings: Any) -> Iterator[Gateway]:
    """A gateway whose servers listen on the same loopback address as itself."""
    opened = Gateway(host, [VpnServer(host) for _ in range(servers)], max_open=max_open, **settings)
    try:
        yield opened
    finally:
        opened.close()
