"""A service with real servers and clients, without sockets: what is sent where can be asked afterwards."""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random
from typing import Any

from netaddr import IPAddress

from engine.config.addresses import expand_pool
from engine.config.schema import AdminState, Duration, SchedulerKind
from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import Service as ServiceConfig
from engine.events import EventLog
from engine.health.result import ProbeResult
from engine.health.state import ServerHealth
from engine.net.batches import from_raw, to_raw
from engine.net.forwarder import Forwarder
from engine.net.starvation import Starvation
from engine.net.upstreams import Upstreams
from engine.policy.schedulers import make_scheduler
from engine.session_events import SessionEvents
from engine.sessions.claims import CLAIMANTS
from engine.sessions.esp import SPIS_KEPT
from engine.sessions.fast_path import FastPath
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.session import SPI_PAIRS_KEPT, Phase, Session
from engine.sessions.table import FLOWS_PER_SESSION
from engine.wire.build import build_message, nonce_payload, notify_payload
from engine.wire.header import INITIATOR_FLAG, RESPONSE_FLAG, Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import PayloadType

IKE, NAT_T = Port.IKE, Port.NAT_T
KEEPALIVE = b"\xff"
SUCCESS_BYTES = 200
REFUSAL_BYTES = 20


class UpstreamDouble:
    """Stands where a connected socket would."""

    def __init__(self, flow: Flow, sent: list[tuple[str, bytes]]) -> None:
        self._server = flow.server.name
        self._sent = sent

    def fileno(self) -> int:
        return -1

    def send(self, data: memoryview, /) -> int:
        self._sent.append((self._server, bytes(data)))
        return len(data)

    def recv_into(self, buffer: memoryview, /) -> int:
        raise BlockingIOError

    def close(self) -> None:
        pass


class UpstreamDoubles(Upstreams):
    """Opens nothing; notes which real server gets which datagram."""

    def __init__(self) -> None:
        super().__init__(max_open=1)
        self.poll.close()
        self.sent: list[tuple[str, bytes]] = []
        self._snat_ports = count(40_000)

    def open(self, flow: Flow, source: str) -> None:
        flow.upstream = UpstreamDouble(flow, self.sent)
        if not flow.service.is_snat:
            flow.source = flow.client
        elif flow.source is None:
            flow.source = (source or "192.0.2.1", next(self._snat_ports))
        self.flows[id(flow)] = flow

    def resume(self, flow: Flow, spare_ports: range) -> bool:
        assert flow.source is not None
        self.open(flow, flow.source[0])
        return True

    def close(self, flow: Flow) -> None:
        if flow.upstream is not None:
            flow.upstream = None
            del self.flows[id(flow)]


class ListenerDouble:
    """Stands where a listener would; notes which client gets which datagram."""

    def __init__(self, service: Service, port: Port, forwarder: Forwarder) -> None:
        self.service = service
        self.port = port
        self.flows: dict[bytes, Flow] = {}
        self.answered: list[tuple[SocketAddress, bytes]] = []
        self.spoken: list[tuple[SocketAddress, bytes]] = []
        """What the balancer itself said, and to whom."""
        self._forwarder = forwarder

    def fileno(self) -> int:
        return -1

    def reply(self, flow: Flow, size: int, now_s: float) -> None:
        self.answered.append((flow.client, bytes(self._forwarder.outbox.slot_view[:size])))
        flow.packets_out += 1
        flow.bytes_out += size
        flow.server.packets_out += 1
        flow.server.bytes_out += size
        flow.last_out_s = now_s

    def speak(self, peer: bytes, message: bytes) -> None:
        self.spoken.append((from_raw(peer), message))

    def forget(self, flow: Flow) -> None:
        del self.flows[flow.peer]


class World:
    """One service; times are passed in."""

    def __init__(
        self,
        *,
        servers: str = "ab",
        max_sessions: int = 1000,
        max_records: int = 1000,
        fast_path: FastPath | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("scheduler", SchedulerKind.ROUND_ROBIN)
        real_servers = [
            RealServerConfig(name=name, address=IPAddress(f"10.0.0.{number}"))
            for number, name in enumerate(servers, start=11)
        ]
        config = ServiceConfig(name="vpn", address=IPAddress("203.0.113.10"), real_servers=real_servers, **settings)
        self.events = EventLog()
        self.forwarder = Forwarder(max_sessions, 64, Starvation(self.events), SessionEvents(self.events), fast_path)
        self.forwarder.upstreams.poll.close()
        self.upstreams = self.forwarder.upstreams = UpstreamDoubles()
        self.table = self.forwarder.table
        self.service = Service(
            config,
            {
                server.name: RealServer(server, (config.ike_port, config.nat_t_port), ServerHealth(3, 2, 0.0))
                for server in real_servers
            },
            make_scheduler(config.scheduler, key=b"key", random=Random(1)),
            tuple(str(address) for address in expand_pool(config.snat_addresses)),
            max_records,
        )
        self.listeners = {port: ListenerDouble(self.service, port, self.forwarder) for port in Port}
        for port, listener in self.listeners.items():
            self.forwarder.listeners["vpn", port] = listener
        self.now_s = 0.0
        self.adopted = Counter[str]()
        """Sessions of an earlier engine, by real server."""

    def server(self, name: str) -> RealServer:
        return self.service.servers[name]

    def sessions(self) -> list[Session]:
        return list(self.table.sessions.values())

    def only_session(self) -> Session:
        (session,) = self.table.sessions.values()
        return session

    def flow(self, client: SocketAddress, port: Port) -> Flow | None:
        return self.service.flows[port].get(client)

    def client_sends(self, client: SocketAddress, port: Port, datagram: bytes) -> str | None:
        """The real server that a client's datagram went to; None: nowhere."""
        before = len(self.upstreams.sent)
        listener, peer = self.listeners[port], to_raw(client)
        flow = listener.flows.get(peer)
        assert flow is self.flow(client, port)
        self.forwarder.from_client(listener, peer, flow, memoryview(datagram), self.now_s)
        if len(self.upstreams.sent) == before:
            return None
        name, passed = self.upstreams.sent[-1]
        assert passed == datagram
        return name

    def server_sends(self, client: SocketAddress, port: Port, datagram: bytes) -> bool:
        """Whether the client got what its real server sent on a flow."""
        flow = self.flow(client, port)
        assert flow is not None
        answered = self.listeners[port].answered
        before = len(answered)
        self.forwarder.outbox.slot_view[: len(datagram)] = datagram
        self.forwarder.from_server(flow, len(datagram), self.now_s)
        return answered[before:] == [(client, datagram)]

    def server_speaks_first(self, client: SocketAddress, port: Port) -> None:
        """Begin the flow that something of a server's begins, sent to a client that is not known."""
        server = next(iter(self.service.servers.values()))
        session = self.table.open(self.service, server, client[0], "server spoke first", self.now_s)
        flow = self.table.add_flow(session, port, client, self.now_s)
        self.forwarder.adopt(self.listeners[port], to_raw(client), flow)

    def connect(self, host: str, spi: int, *, ike_port: int = 500, nat_t_port: int = 4500) -> Session:
        """Set an IKE SA up: IKE_SA_INIT on 500, IKE_AUTH on 4500, then a keepalive."""
        first, then = at(host, ike_port), at(host, nat_t_port)
        server = self.client_sends(first, IKE, init(spi))
        assert server is not None
        assert self.server_sends(first, IKE, init_answer(spi))
        assert self.client_sends(then, NAT_T, auth(spi)) == server
        assert self.server_sends(then, NAT_T, auth_answer(spi))
        assert self.client_sends(then, NAT_T, KEEPALIVE) == server
        session = self.service.by_spi[spi]
        assert session.phase is Phase.ESTABLISHED
        return session

    def later(self, by_s: float) -> None:
        """Let time pass, and what is due end."""
        self.now_s += by_s
        while self.table.expire(self.now_s, 100):
            pass
        self.service.persistence.expire(self.service.config.persistence_timeout_s, self.now_s, 1_000)

    def configure(self, name: str, **changes: Any) -> None:
        """Change a real server's configuration, without the consequences that the deployment draws."""
        server = self.server(name)
        fields = {field: getattr(server.config, field) for field in server.config.__struct_fields__}
        server.config = RealServerConfig(**(fields | changes))

    def disable(self, name: str) -> None:
        """What the engine does when the operator disables a server."""
        self.configure(name, state=AdminState.DISABLED)
        self.evacuate(name)

    def fail(self, name: str) -> None:
        """What the engine does when a server goes down."""
        self.probe(name, ok=False)
        for session in self._left(name):
            self.table.put_to_sleep(session, f"{name} went down")

    def probe(self, name: str, *, ok: bool) -> None:
        """Have probes find a server up or down."""
        for _ in range(3):
            self.server(name).health.observe(ProbeResult(ok=ok, reason="test", rtt_s=0.001 if ok else None), self.now_s)

    def evacuate(self, name: str) -> None:
        """End a server's sessions."""
        for session in self._left(name):
            self.table.close(session)

    def _left(self, name: str) -> list[Session]:
        server = self.server(name)
        self.service.persistence.forget_server(server)
        return [session for session in self.sessions() if session.server is server]


def at(host: str, port: int) -> SocketAddress:
    """An address as the kernel reports it."""
    return (host, port, 0, 0) if ":" in host else (host, port)


def phase_of(session: Session) -> Phase:
    """The phase at this moment."""
    return session.phase


def seconds(value: float) -> Duration:
    return Duration(value)


def answer_spi(spi: int) -> int:
    """The responder's SPI that servers of these tests give."""
    return spi ^ 0xFFFF_FFFF_FFFF_FFFF


def init(spi: int) -> bytes:
    return build_message([nonce_payload(bytes(32))], spi_i=spi)


def init_answer(spi: int) -> bytes:
    return build_message([nonce_payload(bytes(32))], spi_i=spi, spi_r=answer_spi(spi), flags=RESPONSE_FLAG)


def cookie_demand(spi: int) -> bytes:
    return build_message([notify_payload(NotifyType.COOKIE, b"c" * 20)], spi_i=spi, flags=RESPONSE_FLAG)


def complaint(spi: int, notify_type: int, exchange: int = Exchange.IKE_SA_INIT, data: bytes = b"") -> bytes:
    """An error that a server answers in the clear, as it goes over port 500."""
    return build_message(
        [notify_payload(notify_type, data)], spi_i=spi, exchange=exchange, flags=RESPONSE_FLAG, message_id=0
    )


def encrypted(
    spi: int,
    exchange: int,
    *,
    from_server: bool = False,
    response: bool = False,
    size_bytes: int = 40,
    message_id: int = 1,
    payload: int = PayloadType.SK,
    responder_spi: int | None = None,
) -> bytes:
    """An encrypted message of an IKE SA that the client began, as it goes over port 4500."""
    flags = (0 if from_server else INITIATOR_FLAG) | (RESPONSE_FLAG if response else 0)
    return bytes(4) + build_message(
        [(payload, bytes(size_bytes))],
        spi_i=spi,
        spi_r=answer_spi(spi) if responder_spi is None else responder_spi,
        exchange=exchange,
        flags=flags,
        message_id=message_id,
    )


def auth(spi: int) -> bytes:
    return encrypted(spi, Exchange.IKE_AUTH, size_bytes=300)


def auth_answer(spi: int, size_bytes: int = SUCCESS_BYTES, payload: int = PayloadType.SK) -> bytes:
    return encrypted(spi, Exchange.IKE_AUTH, from_server=True, response=True, size_bytes=size_bytes, payload=payload)


def informational(spi: int, *, from_server: bool = False, response: bool = False) -> bytes:
    return encrypted(spi, Exchange.INFORMATIONAL, from_server=from_server, response=response, message_id=2)


def create_child(spi: int, *, from_server: bool = False, response: bool = False) -> bytes:
    return encrypted(spi, Exchange.CREATE_CHILD_SA, from_server=from_server, response=response, message_id=3)


def esp(spi: int = 0x1234_5678) -> bytes:
    return spi.to_bytes(4) + bytes(60)


def audit(world: World) -> None:
    """Every index and every count agrees with a recount from the sessions and flows themselves."""
    table, service = world.table, world.service
    sessions = world.sessions()
    assert len(sessions) <= table.max_sessions
    assert all(session.phase is not Phase.CLOSED for session in sessions)
    assert table.half_open == {session.number: session for session in sessions if session.half_open}
    assert table.asleep == {session.number: session for session in sessions if session.phase is Phase.IDLE}

    flows = [flow for by_client in service.flows.values() for flow in by_client.values()]
    assert table.flow_count == len(flows)
    for port, by_client in service.flows.items():
        assert all((flow.port, flow.client) == (port, client) for client, flow in by_client.items())
    for port, listener in world.listeners.items():
        assert set(map(id, listener.flows.values())) == {id(flow) for flow in service.flows[port].values()}
    for flow in flows:
        assert flow.sessions
        assert len(set(map(id, flow.sessions))) == len(flow.sessions)
        assert all(flow in session.flows for session in flow.sessions)
        assert {session.server for session in flow.sessions} == {flow.server}
        half_open = any(session.half_open for session in flow.sessions)
        assert flow.settled is (flow.port is NAT_T and flow.proven and not half_open)
    for session in sessions:
        assert all(flow in flows and session in flow.sessions for flow in session.flows)
        assert session.flows or session.phase is Phase.IDLE
        assert len(session.flows) <= FLOWS_PER_SESSION
    assert set(world.upstreams.flows) <= {id(flow) for flow in flows}

    for claims, spis_of in (
        (service.by_spi, lambda session: {spi_i for spi_i, _ in session.spis}),
        (service.by_esp, lambda session: set(session.esp_in)),
    ):
        claimed = {(spi, session.number) for spi in claims for session in claims.all(spi)}
        assert claimed <= {(spi, session.number) for session in sessions for spi in spis_of(session)}
        assert set(claims) == {spi for session in sessions for spi in spis_of(session)}
        assert all(len(claims.all(spi)) <= CLAIMANTS for spi in claims)
    for session in sessions:
        assert len(session.spis) <= SPI_PAIRS_KEPT
        assert max(len(session.esp_in), len(session.esp_out)) <= SPIS_KEPT
    pairs = [pair for session in sessions for pair in session.spis if pair[1]]
    assert len(set(pairs)) == len(pairs), "two sessions have the same SPIs"
    by_host: dict[str, list[int]] = {}
    for session in sessions:
        by_host.setdefault(session.host, []).append(session.number)
    assert {host: sorted(s.number for s in found) for host, found in service.by_host.items()} == by_host

    assert service.newcomers._source_of.keys() <= {session.number for session in sessions if session.half_open}
    assert service.newcomers._by_source == Counter(service.newcomers._source_of.values())

    for server in service.servers.values():
        own = [session for session in sessions if session.server is server]
        assert server.new_sessions - server.ended_sessions == len(own) - world.adopted[server.name]
        assert server.half_open == sum(session.half_open for session in own)
        assert server.established == sum(session.phase in (Phase.ESTABLISHED, Phase.MOVED) for session in own)
        assert server.asleep == sum(session.phase is Phase.IDLE for session in own)
        assert server.sessions == len(own)
        assert server.source_use == Counter(session.source_address for session in own if session.source_address)
    records = service.persistence
    assert len(records) - len(records.pins) <= records.max_records
    assert all(record.pinned is (record in records.pins) for record in records)
    for record in records:
        assert record.flows == sum(flow.persistence is record for flow in flows)
    assert set(records._unused) == {record.client for record in records if not record.flows and not record.pinned}


def assert_empty(world: World) -> None:
    """Nothing at all is left but what the operator pinned."""
    audit(world)
    service = world.service
    assert not world.table.sessions
    assert world.table.flow_count == 0
    assert not service.by_spi
    assert not service.by_esp
    assert not service.newcomers._source_of
    assert not service.by_host
    assert not any(service.flows.values())
    assert len(service.persistence) == len(service.persistence.pins)
    assert len(world.upstreams) == 0
    assert not any(server.established or server.half_open or server.source_use for server in service.servers.values())
    service.unannounced.expire(world.now_s)
    assert not service.unannounced
    assert not world.table.half_open
    assert not world.table.asleep
    assert not any(listener.flows for listener in world.listeners.values())
    assert world.table.deadlines == 0
