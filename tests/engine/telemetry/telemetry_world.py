"""Services, real servers and sessions without sockets or probes, for whoever only looks at them."""

from __future__ import annotations

from random import Random
from typing import Any

from netaddr import IPAddress

from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import SchedulerKind
from engine.config.schema import Service as ServiceConfig
from engine.health.result import ProbeResult
from engine.health.state import ServerHealth
from engine.policy.schedulers import make_scheduler
from engine.sessions import keys
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import Session
from engine.sessions.table import SessionTable


def real_server(name: str, now_s: float = 0.0, **settings: Any) -> RealServer:
    """A real server that no probe has looked at."""
    config = RealServerConfig(name=name, address=IPAddress("10.0.0.11"), **settings)
    return RealServer(config, (500, 4500), ServerHealth(3, 2, now_s))


def service(*servers: RealServer, name: str = "vpn", **settings: Any) -> Service:
    """A service with these real servers."""
    config = ServiceConfig(
        name=name,
        address=IPAddress("203.0.113.10"),
        real_servers=[server.config for server in servers],
        **settings,
    )
    scheduler = make_scheduler(SchedulerKind.ROUND_ROBIN, key=b"key", random=Random(1))
    return Service(config, {server.name: server for server in servers}, scheduler, (), 1000)


def probed(server: RealServer, *, ok: bool, now_s: float, reason: str = "no answer") -> None:
    """Have probes find a real server up or down."""
    for _ in range(3):
        server.health.observe(ProbeResult(ok=ok, reason=reason, rtt_s=None), now_s)


class _Deaf:
    def established(self, session: Session) -> None:
        pass

    def moved(self, session: Session, before: SocketAddress) -> None:
        pass

    def ended(self, session: Session, reason: str) -> None:
        pass


class Sessions:
    """A session table, and clients that ask and servers that answer by counters alone."""

    def __init__(self, max_sessions: int = 1000) -> None:
        self.table = SessionTable(max_sessions, lambda flow: None, _Deaf())
        self._clients = 0

    def begin(self, service: Service, server: RealServer, now_s: float, *, packets_in: int = 1) -> Session:
        """A client's new session whose IKE messages reached the server `packets_in` times."""
        self._clients += 1
        session = self.table.open(service, server, f"192.0.2.{self._clients}", "test", now_s)
        keys.bind_spis(session, self._clients, 0)
        flow = self.table.add_flow(session, Port.IKE, (session.host, 500), now_s)
        self.ask(flow, packets_in)
        return session

    def ask(self, flow: Flow, packets: int) -> None:
        """Count datagrams of a client."""
        flow.packets_in += packets
        flow.server.packets_in += packets

    def answer(self, session: Session) -> None:
        """Count a datagram of the real server."""
        session.flows[0].packets_out += 1
        session.server.packets_out += 1
