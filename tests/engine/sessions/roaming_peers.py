"""VPN servers and clients that know nothing of the balancer between them: who has which tunnel, and where they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from engine.sessions.flow import Port, SocketAddress
from engine.wire.build import build_message, nonce_payload
from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import INITIATOR_FLAG, RESPONSE_FLAG, Exchange, parse_header
from engine.wire.payloads import PayloadType
from tests.engine.sessions.session_world import IKE, KEEPALIVE, NAT_T, SUCCESS_BYTES, World, esp

FORGOTTEN_S = 3_500.0
"""So long without a packet, and the balancer may have forgotten a tunnel."""


@dataclass(eq=False)
class Tunnel:
    """An IKE SA with its CHILD SA, as its two ends know it."""

    server: str
    place: SocketAddress
    pair: tuple[int, int]
    esp_in: int
    esp_out: int
    seen_s: float
    begun_by_server: bool = False
    """The server rekeyed last: it is the initiator of the IKE SA now."""
    pair_shown: bool = True
    """Whether an answer with these SPIs has passed the balancer."""
    esp_shown: bool = False
    """Whether ESP to the server has passed it where the server had answered before."""
    client_id: int = 2
    server_id: int = 0
    last_answer: bytes = field(default=b"")

    def message(self, exchange: int, message_id: int, *, from_server: bool, response: bool) -> bytes:
        """An encrypted message of the IKE SA."""
        flags = (INITIATOR_FLAG if from_server is self.begun_by_server else 0) | (RESPONSE_FLAG if response else 0)
        spi_i, spi_r = self.pair
        content = [(PayloadType.SK, bytes(40))]
        packed = build_message(content, spi_i=spi_i, spi_r=spi_r, exchange=exchange, flags=flags, message_id=message_id)
        return NON_ESP_MARKER + packed


class Peers:
    """Every tunnel there is, and what was ever sent: whoever overheard it can send it again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tunnels: list[Tunnel] = []
        self.overheard: list[tuple[Port, bytes]] = []
        self._numbers = count(1)

    def connect(self, first: SocketAddress, then: SocketAddress) -> Tunnel | None:
        """Set a tunnel up from two addresses; None: no real server takes it."""
        world, number = self.world, next(self._numbers)
        pair = number << 32 | 1, number << 32 | 2
        init = build_message([nonce_payload(bytes(32))], spi_i=pair[0])
        server = self._send(first, IKE, init)
        if server is None:
            return None
        answer = build_message([nonce_payload(bytes(32))], spi_i=pair[0], spi_r=pair[1], flags=RESPONSE_FLAG)
        assert world.server_sends(first, IKE, answer)
        tunnel = Tunnel(server, then, pair, 0xA000_0000 | number, 0xB000_0000 | number, world.now_s)
        request = tunnel.message(Exchange.IKE_AUTH, 1, from_server=False, response=False)
        assert self._send(then, NAT_T, request) == server, "the two ports of one client met two servers"
        accepted = build_message(
            [(PayloadType.SK, bytes(SUCCESS_BYTES))],
            spi_i=pair[0],
            spi_r=pair[1],
            exchange=Exchange.IKE_AUTH,
            flags=RESPONSE_FLAG,
            message_id=1,
        )
        tunnel.last_answer = NON_ESP_MARKER + accepted
        assert world.server_sends(then, NAT_T, tunnel.last_answer)
        assert self._send(then, NAT_T, KEEPALIVE) == server
        self.tunnels.append(tunnel)
        return tunnel

    def ask(self, tunnel: Tunnel, exchange: int = Exchange.INFORMATIONAL) -> str | None:
        """The client asks something, and is answered if it reached its server; returns the server it reached."""
        request = tunnel.message(exchange, tunnel.client_id, from_server=False, response=False)
        reached = self._send(tunnel.place, NAT_T, request)
        if reached == tunnel.server:
            tunnel.last_answer = tunnel.message(exchange, tunnel.client_id, from_server=True, response=True)
            tunnel.client_id += 1
            tunnel.pair_shown = True
            tunnel.seen_s = self.world.now_s
            assert self.world.server_sends(tunnel.place, NAT_T, tunnel.last_answer)
        return reached

    def send_data(self, tunnel: Tunnel) -> str | None:
        """The client sends ESP, and gets some back if it reached its server; returns the server it reached."""
        proven = (flow := self.world.flow(tunnel.place, NAT_T)) is not None and flow.proven
        reached = self._send(tunnel.place, NAT_T, esp(tunnel.esp_in))
        if reached == tunnel.server:
            tunnel.esp_shown = tunnel.esp_shown or proven
            flow = self.world.flow(tunnel.place, NAT_T)
            # Where nothing tells whose it is, it is a tunnel of its own to the balancer.
            if flow is not None and any(tunnel.pair in session.spis for session in flow.sessions):
                tunnel.seen_s = self.world.now_s
            assert self.world.server_sends(tunnel.place, NAT_T, esp(tunnel.esp_out))
        return reached

    def server_asks(self, tunnel: Tunnel) -> None:
        """The server polls its client, where its flow still is."""
        flow = self.world.flow(tunnel.place, NAT_T)
        if flow is not None and flow.server.name == tunnel.server:
            ask = tunnel.message(Exchange.INFORMATIONAL, tunnel.server_id, from_server=True, response=False)
            assert self.world.server_sends(tunnel.place, NAT_T, ask)
            told = tunnel.message(Exchange.INFORMATIONAL, tunnel.server_id, from_server=False, response=True)
            assert self._send(tunnel.place, NAT_T, told) == tunnel.server
            tunnel.server_id += 1
            tunnel.pair_shown = True
            tunnel.seen_s = self.world.now_s

    def rekey_data(self, tunnel: Tunnel) -> None:
        """Agree new ESP SPIs, if the server is reached."""
        if self.ask(tunnel, Exchange.CREATE_CHILD_SA) == tunnel.server:
            number = next(self._numbers)
            tunnel.esp_in, tunnel.esp_out, tunnel.esp_shown = 0xA000_0000 | number, 0xB000_0000 | number, False

    def rekey_ike(self, tunnel: Tunnel, *, by_server: bool) -> None:
        """Agree new IKE SPIs, if the server is reached."""
        if self.ask(tunnel, Exchange.CREATE_CHILD_SA) == tunnel.server:
            number = next(self._numbers)
            tunnel.pair, tunnel.pair_shown = (number << 32 | 1, number << 32 | 2), False
            tunnel.begun_by_server = by_server
            tunnel.client_id = tunnel.server_id = 0

    def replay(self, place: SocketAddress, which: int) -> None:
        """Send something overheard again, from anywhere; its server gives the last answer again, to no avail."""
        port, datagram = self.overheard[which % len(self.overheard)]
        reached = self._deliver(place, port, datagram)
        if reached is None or (port is NAT_T and any(datagram[:4])) or datagram == KEEPALIVE:
            return
        header = parse_header(datagram, len(NON_ESP_MARKER) if port is NAT_T else 0)
        for tunnel in self.tunnels:
            if tunnel.server == reached and tunnel.pair == (header.spi_i, header.spi_r):
                answered = parse_header(tunnel.last_answer, len(NON_ESP_MARKER))
                if (answered.message_id, answered.spi_i) == (header.message_id, header.spi_i):
                    self.world.server_sends(place, port, tunnel.last_answer[0 if port is NAT_T else 4 :])

    def server_dies(self, name: str) -> None:
        """With all that it had."""
        self.world.fail(name)
        self.tunnels = [tunnel for tunnel in self.tunnels if tunnel.server != name]

    def give_up(self) -> None:
        """Clients that were not heard of for very long are gone."""
        self.tunnels = [tunnel for tunnel in self.tunnels if self.world.now_s - tunnel.seen_s < FORGOTTEN_S]

    def _send(self, place: SocketAddress, port: Port, datagram: bytes) -> str | None:
        self.overheard.append((port, datagram))
        return self._deliver(place, port, datagram)

    def _deliver(self, place: SocketAddress, port: Port, datagram: bytes) -> str | None:
        return self.world.client_sends(place, port, datagram)
