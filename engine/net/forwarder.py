"""The slow path: datagrams between clients and real servers, every IKE message looked at."""

from __future__ import annotations

from collections.abc import Callable

from engine.net import sockets
from engine.net.snat import source_for
from engine.net.starvation import Starvation
from engine.net.upstreams import Upstreams, send_failure
from engine.sessions import tracking
from engine.sessions.flow import Flow, Port, SocketAddress
from engine.sessions.service import Service
from engine.sessions.steering import Unsteerable, steer
from engine.sessions.table import SessionTable, TableFull
from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify
from engine.wire.errors import WireError
from engine.wire.header import Exchange, IkeHeader, parse_header
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message

Reply = Callable[[memoryview, SocketAddress], int]


class Forwarder:
    """Carries datagrams both ways through one shared buffer; what it drops is counted by reason."""

    def __init__(self, max_sessions: int, max_open_sockets: int, starvation: Starvation) -> None:
        self.buffer = bytearray(sockets.MAX_DATAGRAM_BYTES)
        self.view = memoryview(self.buffer)
        self.table = SessionTable(max_sessions, self.release)
        self.upstreams = Upstreams(max_open_sockets, self.buffer, self.from_server)
        self._starvation = starvation
        self.replies: dict[tuple[str, Port], Reply] = {}
        """How to answer clients of a service's port: the listener's sendto."""

    def release(self, flow: Flow) -> None:
        """A flow has ended: its socket goes."""
        self.upstreams.close(flow)

    def from_client(
        self, service: Service, port: Port, client: SocketAddress, flow: Flow | None, size: int, now_s: float
    ) -> None:
        """Take the datagram of `size` bytes in the buffer from a client to its real server."""
        try:
            kind = classify(self.buffer, size, port is Port.NAT_T)
            header = self._header(port, size) if kind is Kind.IKE else None
            if flow is not None and header is not None and tracking.foreign_session(flow, header):
                self.table.drop_flow(flow)
                flow = None
            if flow is None:
                if kind is Kind.KEEPALIVE:
                    raise Unsteerable("keepalive-without-flow")
                taken = service.new_sessions
                flow = steer(self.table, service, port, client, header, now_s)
                if service.starved and service.new_sessions > taken:
                    self._starvation.ends(service)
            if header is not None:
                tracking.ike_from_client(self.table, flow, header, size, now_s)
                if header.exchange == Exchange.IKE_SA_INIT:
                    tracking.keep_init(flow, header, self._message(port, size))
            elif not flow.settled:
                tracking.tunnel_alive(self.table, flow, from_server=False)
        except WireError as error:
            service.drops[error.reason] += 1
        except TableFull:
            service.drops["table-full"] += 1
            self._starvation.begins(service, "table-full")
        except Unsteerable as error:
            service.drops[error.reason] += 1
            self._starvation.begins(service, error.reason)
        else:
            self.to_server(flow, size, now_s)

    def to_server(self, flow: Flow, size: int, now_s: float) -> None:
        """Send the datagram in the buffer to the flow's real server, opening its socket at need."""
        try:
            if flow.send is None:
                self._open(flow)
            assert flow.send is not None
            try:
                flow.send(self.view[:size])
            except ConnectionRefusedError:
                # The kernel reports an earlier datagram's ICMP error here and has not sent this one.
                flow.service.drops["server-refused"] += 1
                flow.send(self.view[:size])
        except OSError as error:
            flow.service.drops[send_failure(error)] += 1
            return
        server = flow.server
        flow.packets_in += 1
        flow.bytes_in += size
        server.packets_in += 1
        server.bytes_in += size
        flow.last_in_s = now_s

    def from_server(self, flow: Flow, size: int, now_s: float) -> None:
        """Take the datagram of `size` bytes in the buffer from a real server to the flow's client."""
        if not flow.settled or flow.port is Port.IKE or self.buffer.startswith(NON_ESP_MARKER):
            try:
                self._observe_answer(flow, size, now_s)
            except WireError as error:
                flow.service.drops[f"from-server-{error.reason}"] += 1
                return
        try:
            assert flow.reply is not None
            flow.reply(self.view[:size], flow.client)
        except OSError as error:
            flow.service.drops[f"reply-{send_failure(error)}"] += 1
            return
        server = flow.server
        flow.packets_out += 1
        flow.bytes_out += size
        server.packets_out += 1
        server.bytes_out += size
        flow.last_out_s = now_s

    def _observe_answer(self, flow: Flow, size: int, now_s: float) -> None:
        match classify(self.buffer, size, flow.port is Port.NAT_T):
            case Kind.IKE:
                header = self._header(flow.port, size)
                tracking.ike_from_server(
                    self.table,
                    flow,
                    header,
                    cookie=header.spi_r == 0 and _demands_cookie(self._message(flow.port, size)),
                    size_bytes=size,
                    now_s=now_s,
                )
            case Kind.ESP | Kind.KEEPALIVE:
                tracking.tunnel_alive(self.table, flow, from_server=True)

    def _header(self, port: Port, size: int) -> IkeHeader:
        return parse_header(self.buffer, _marker_bytes(port), size)

    def _message(self, port: Port, size: int) -> bytes:
        return bytes(self.view[_marker_bytes(port) : size])

    def _open(self, flow: Flow) -> None:
        session = flow.newest_session
        config = flow.service.config
        self.upstreams.open(flow, source_for(session, flow.service.snat_pool))
        flow.reply = self.replies[config.name, flow.port]
        if flow.service.is_snat and flow.source is not None:
            self.table.use_source(session, flow.source[0])


def _marker_bytes(port: Port) -> int:
    return len(NON_ESP_MARKER) if port is Port.NAT_T else 0


def _demands_cookie(message: bytes) -> bool:
    try:
        return parse_message(message).notify(NotifyType.COOKIE) is not None
    except WireError:
        return False
