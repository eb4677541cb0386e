"""The slow path: datagrams between clients and real servers, every IKE message looked at."""

from __future__ import annotations

import errno
import struct
from typing import Protocol

from engine.capture.captures import Captures
from engine.net.batches import Slots, from_raw
from engine.net.challenge import Challenge, ClientPort
from engine.net.errors import send_failure
from engine.net.outbox import Outbox
from engine.net.snat import ANY_ADDRESS, sources_for
from engine.net.starvation import Starvation
from engine.net.upstreams import Upstreams
from engine.sessions import invariants, keys, steering, tracking
from engine.sessions.endings import RECOGNISED
from engine.sessions.esp import spi_of
from engine.sessions.fast_path import FastPath, NoFastPath
from engine.sessions.flow import ClientSide, Flow, Port, SocketAddress
from engine.sessions.service import Service
from engine.sessions.steering import Unsteerable
from engine.sessions.table import SessionTable, TableFull, Witness
from engine.wire.encapsulation import ESP_HEADER_SIZE_BYTES, NON_ESP_MARKER, read_header
from engine.wire.errors import WireError
from engine.wire.header import RESPONSE_FLAG, Exchange, IkeHeader

_NAT_T = Port.NAT_T
_ESP_WORD = struct.Struct("=I")
_INIT, _AUTH = Exchange.IKE_SA_INIT, Exchange.IKE_AUTH


class Listening(ClientSide, ClientPort, Protocol):
    """One port of a service, as the forwarder sees it."""

    service: Service
    port: Port
    flows: dict[bytes, Flow]
    """The flows by their clients' raw addresses."""

    def fileno(self) -> int:
        """The socket's file descriptor."""
        ...


class Forwarder:
    """Carries datagrams both ways; what it drops is counted by reason."""

    def __init__(
        self,
        max_sessions: int,
        max_open_sockets: int,
        starvation: Starvation,
        witness: Witness,
        fast_path: FastPath | None = None,
    ) -> None:
        self.inbox = Slots()
        self.outbox = Outbox()
        self.fast_path: FastPath = fast_path or NoFastPath()
        self.table = SessionTable(max_sessions, self.release, witness, self.fast_path)
        self.fast_path.tell(self._kernel_carries)
        self.upstreams = Upstreams(max_open_sockets)
        self.captures = Captures()
        self.challenge = Challenge()
        self.listeners: dict[tuple[str, Port], Listening] = {}
        """By service name and port."""
        self.endpoints: frozenset[tuple[str, int]] = frozenset()
        """(address, port) of every listener: no client has these."""
        self._starvation = starvation

    def release(self, flow: Flow) -> None:
        """A flow has ended: its socket goes."""
        self.upstreams.close(flow)
        if flow.listener is not None:
            flow.listener.forget(flow)

    def from_client(self, listener: Listening, peer: bytes, flow: Flow | None, data: memoryview, now_s: float) -> None:
        """Take a client's datagram to its real server; `peer` is the client's raw address."""
        if steered := self.steer(listener, peer, flow, data, now_s):
            self.to_server(steered, data, now_s)

    def steer(self, listener: Listening, peer: bytes, flow: Flow | None, data: memoryview, now_s: float) -> Flow | None:
        """Take note of a client's datagram, and find or make the flow that is to carry it; None: it is dropped."""
        service = listener.service
        try:
            header = read_header(data, listener.port is _NAT_T)
            begins = header is not None and header.exchange == _INIT and not header.flags & RESPONSE_FLAG
            client = flow.client if flow is not None else from_raw(peer)
            if header is not None and begins and not self.challenge.admits(listener, peer, client, header, data, now_s):
                if self.captures.running:
                    self.captures.turned_away(service, listener.port, client, data, "cookie-demanded")
                return None
            word = _ESP_WORD.unpack_from(data)[0] if header is None and len(data) >= ESP_HEADER_SIZE_BYTES else 0
            if flow is not None and begins and steering.only_keeps(service, flow.server):
                self.table.drop_flow(flow, f"{flow.server.name} went down")
                flow = None
            if flow is not None and self._is_of_another(flow, header, word, now_s):
                self.table.drop_flow(flow, RECOGNISED)
                flow = None
            if flow is None:
                flow = self._new_flow(listener, peer, client, header, word, now_s)
            if header is not None:
                session = tracking.ike_from_client(self.table, flow, header, data, now_s)
                invariants.request_passes(session, flow, header, len(data))
                if begins:
                    tracking.keep_init(session, _message(listener.port, data))
            else:
                tracking.tunnel_alive(self.table, flow, word, now_s, from_server=False)
        except WireError as error:
            self._turn_away(listener, peer, data, error.reason)
        except TableFull:
            self._turn_away(listener, peer, data, "table-full")
            self._starvation.begins(service, "table-full")
        except Unsteerable as error:
            self._turn_away(listener, peer, data, error.reason)
            self._starvation.begins(service, error.reason)
        else:
            opened = flow.upstream is not None or self._try_to_open(flow)
            if self.captures.running and header is not None:
                self.captures.passes(flow, data, inward=True, dropped="" if opened else "no-way-to-server")
            if opened:
                return flow
        return None

    def to_server(self, flow: Flow, data: memoryview, now_s: float) -> None:
        """Send a datagram to the flow's real server, opening its socket at need."""
        if flow.upstream is None and not self._try_to_open(flow):
            return
        assert flow.upstream is not None
        try:
            try:
                flow.upstream.send(data)
            except ConnectionRefusedError:
                # The kernel reports an earlier datagram's ICMP error here and has not sent this one.
                flow.service.drops["server-refused"] += 1
                flow.upstream.send(data)
        except OSError as error:
            flow.service.drops[send_failure(error.errno)] += 1
            return
        size, server = len(data), flow.server
        flow.packets_in += 1
        flow.bytes_in += size
        server.packets_in += 1
        server.bytes_in += size
        flow.last_in_s = now_s

    def from_server(self, flow: Flow, size: int, now_s: float) -> None:
        """Take the datagram of `size` bytes in the outbox's slot from a real server to the flow's client."""
        listener = flow.listener
        if listener is None:
            return
        outbox = self.outbox
        if not flow.settled or outbox.first_words[outbox.cursor] not in flow.esp_out:
            data = outbox.views[outbox.cursor][:size]
            try:
                self._observe_answer(flow, data, now_s)
            except WireError as error:
                flow.service.drops[f"from-server-{error.reason}"] += 1
                if self.captures.running:
                    self.captures.passes(flow, data, inward=False, dropped=f"from-server-{error.reason}")
                return
        listener.reply(flow, size, now_s)

    def adopt(self, listener: Listening, peer: bytes, flow: Flow) -> None:
        """Let a flow's client be reached through a listener, and its datagrams be recognised there."""
        flow.listener = listener
        flow.peer = peer
        listener.flows[peer] = flow

    def _kernel_carries(self, flow: Flow, now_s: float) -> None:
        tracking.tunnel_alive(self.table, flow, 0, now_s, from_server=False)

    def _turn_away(self, listener: Listening, peer: bytes, data: memoryview, reason: str) -> None:
        listener.service.drops[reason] += 1
        if self.captures.running:
            self.captures.turned_away(listener.service, listener.port, from_raw(peer), data, reason)

    def _is_of_another(self, flow: Flow, header: IkeHeader | None, word: int, now_s: float) -> bool:
        """Whether a client's datagram is better off on the flow of a session that it names."""
        service = flow.service
        if not service.config.port_following or (header is None and (not word or word in flow.esp_in)):
            return False
        known = steering.recognised(service, flow.client[0], header, spi_of(word) if word else 0)
        if known is None or known.server is flow.server:
            return False
        # Who begins an IKE SA elsewhere has given up a server that is down, even if that still sends data.
        given_up = header is not None and flow.server.health.health == "down" and known.server.health.health != "down"
        return given_up or tracking.yields(self.table, flow, now_s)

    def _new_flow(
        self,
        listener: Listening,
        peer: bytes,
        client: SocketAddress,
        header: IkeHeader | None,
        word: int,
        now_s: float,
    ) -> Flow:
        service = listener.service
        if header is None and not word:
            raise Unsteerable("keepalive-without-flow")
        if not client[1] or client[:2] in self.endpoints or service.server_at(client):
            # Nobody to answer, or the answer would come back here as the next client's datagram.
            raise Unsteerable("impossible-source")
        if known := service.flows[listener.port].get(client):
            # It began at a listener that the service has no more.
            self.adopt(listener, peer, known)
            return known
        taken = service.new_sessions
        flow = steering.steer(self.table, service, listener.port, client, header, spi_of(word) if word else 0, now_s)
        if service.starved and service.new_sessions > taken:
            self._starvation.ends(service)
        self.adopt(listener, peer, flow)
        return flow

    def _observe_answer(self, flow: Flow, data: memoryview, now_s: float) -> None:
        header = read_header(data, flow.port is _NAT_T)
        if header is None:
            word = _ESP_WORD.unpack_from(data)[0] if len(data) >= ESP_HEADER_SIZE_BYTES else 0
            tracking.tunnel_alive(self.table, flow, word, now_s, from_server=True)
        else:
            if self.captures.running:
                self.captures.passes(flow, data, inward=False)
            session = tracking.ike_from_server(self.table, flow, header, data, now_s)
            invariants.answer_passes(session, flow, header, data)
            if header.exchange == _AUTH:
                # Not later: what is queued leaves as soon as an answer of another listener is queued behind it.
                self.fast_path.tunnels_begin(now_s)

    def _try_to_open(self, flow: Flow) -> bool:
        try:
            if flow.service.is_snat:
                self._open_snat(flow)
            else:
                self.upstreams.open(flow, ANY_ADDRESS)
        except OSError as error:
            flow.service.drops[send_failure(error.errno)] += 1
            return False
        if flow.proven and flow.port is _NAT_T:
            # With another source, the kernel's entries of the flow are wrong.
            self.fast_path.offer(flow)
        for session in flow.sessions:
            self.table.mark(session)
        return True

    def _open_snat(self, flow: Flow) -> None:
        session = flow.sessions[-1]
        for source in sources_for(session, flow.service.snat_pool):
            try:
                self.upstreams.open(flow, source)
                break
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                flow.service.drops["source-address-lost"] += 1
        else:
            raise OSError(errno.EADDRNOTAVAIL, "no source address is left")
        if flow.source is not None:
            keys.use_source(session, flow.source[0])


def _message(port: Port, data: memoryview) -> bytes:
    return bytes(data[len(NON_ESP_MARKER) :] if port is _NAT_T else data)
