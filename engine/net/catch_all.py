"""What real servers send to clients without an open upstream socket (transparent services)."""

from __future__ import annotations

import socket

from engine.net import sockets
from engine.net.batches import SLOTS, Receiver, from_raw, to_raw
from engine.net.forwarder import Forwarder
from engine.sessions import steering, tracking
from engine.sessions.endings import RECOGNISED
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.persistence import client_network
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.table import TableFull
from engine.wire.encapsulation import Kind, classify
from engine.wire.errors import WireError

BATCHES_AT_ONCE = 4


class CatchAll:
    """The socket to which the return path's tproxy rule sends what no connected socket claims."""

    def __init__(self, family: socket.AddressFamily, services: dict[str, Service], forwarder: Forwarder) -> None:
        self.socket = sockets.catch_all(family)
        self._services = services
        self._forwarder = forwarder
        # From where they are received, answers are sent on.
        self._receiver = Receiver(family, forwarder.outbox.slots, destinations=True)

    @property
    def port(self) -> int:
        """The UDP port that the tproxy rule names."""
        port: int = self.socket.getsockname()[1]
        return port

    def drain(self, now_s: float) -> None:
        """Forward what has arrived, a bounded number of datagrams."""
        for _ in range(BATCHES_AT_ONCE):
            self._forwarder.outbox.flush()
            try:
                count = self._receiver.receive(self.socket.fileno())
            except OSError:
                return
            self._forward(count, now_s)
            if count < SLOTS:
                return

    def _forward(self, count: int, now_s: float) -> None:
        forwarder, receiver = self._forwarder, self._receiver
        outbox, flow_of = forwarder.outbox, forwarder.upstreams.disguised.get
        sizes = receiver.sizes[:count].tolist()
        for slot, (size, (server, client)) in enumerate(zip(sizes, receiver.addresses(count), strict=True)):
            if flow := flow_of(server + client):
                forwarder.from_server(flow, size, now_s)
            else:
                self._take(from_raw(server), from_raw(client), size, now_s)
            if outbox.cursor == slot:
                outbox.pass_over()

    def _take(self, server: SocketAddress, client: SocketAddress, size: int, now_s: float) -> None:
        services = [s for s in self._services.values() if not s.is_snat and self._listens(s) and s.server_at(server)]
        for service in services:
            if (at := service.server_at(server)) and (flow := service.flows[at[1]].get(client)):
                if flow.server is at[0]:
                    self._answer(flow, service, size, now_s)
                    return
                if not tracking.yields(self._forwarder.table, flow, now_s):
                    service.drops["from-server-left-behind"] += 1
                    return
        # A server that speaks first, after a long silence: without ambiguity its client can be told.
        if len(services) == 1 and (flow := self._begin(services[0], server, client, size, now_s)):
            self._answer(flow, services[0], size, now_s)

    def _listens(self, service: Service) -> bool:
        """Whether clients can be answered: not while the service is being taken away."""
        return (service.name, Port.IKE) in self._forwarder.listeners

    def _answer(self, flow: Flow, service: Service, size: int, now_s: float) -> None:
        listener = self._forwarder.listeners[service.name, flow.port]
        if flow.listener is not listener:
            self._forwarder.adopt(listener, to_raw(flow.client), flow)
        self._forwarder.from_server(flow, size, now_s)

    def _begin(
        self, service: Service, server: SocketAddress, client: SocketAddress, size: int, now_s: float
    ) -> Flow | None:
        at = service.server_at(server)
        assert at is not None
        real_server, port = at
        table = self._forwarder.table
        try:
            data = self._forwarder.outbox.slot_view[:size]
            kind = classify(data, size, port is Port.NAT_T)
            if kind is Kind.KEEPALIVE:
                return None
            session = steering.recognised_by_answer(service, real_server, client[0], kind, port, data)
            elsewhere = _has_a_new_tunnel(service, client, real_server, session, now_s) or (
                session is None and self._lives_elsewhere(service, client[0], real_server, now_s)
            )
            if not real_server.keeps_sessions or elsewhere:
                service.drops["from-server-left-behind"] += 1
                return None
            if guess := service.flows[port].get(client):
                table.drop_flow(guess, RECOGNISED)
            if session is None:
                session = table.open(service, real_server, client[0], "server spoke first", now_s)
        except WireError as error:
            service.drops[f"from-server-{error.reason}"] += 1
        except TableFull:
            service.drops["table-full"] += 1
        else:
            return table.add_flow(session, port, client, now_s)
        return None

    def _lives_elsewhere(self, service: Service, host: str, server: RealServer, now_s: float) -> bool:
        """Whether the client was sent to another server meanwhile: its old one shall not call it back.

        A pin alone sends nobody: sessions that there were before stay on their servers.
        """
        network = client_network(host, service.config.persistence_prefix)
        record = service.persistence.get(network, service.config.persistence_timeout_s, now_s)
        if record is None or record.server is server:
            return False
        return not (record.pinned and any(session.server is server for session in service.by_host.get(host, ())))


def _has_a_new_tunnel(
    service: Service, client: SocketAddress, server: RealServer, known: Session | None, now_s: float
) -> bool:
    """Whether another server has shown a client to be at an address and port since the session `known` was heard of.

    A server that was hung does not know that its client has connected elsewhere.
    """
    since_s = known.last_activity_s() if known is not None else now_s - service.config.timeouts.nat_t_idle_s
    return any(
        other.place == client and other.server is not server and other.last_activity_s() > since_s
        for other in service.by_host.get(client[0], ())
        if other.server.keeps_sessions
    )
