"""Clients that connect, talk, roam, rekey, fall silent, leave and come back; a program of its own.

python -m tests.bench.churn_clients CLIENTS SERVICE_ADDRESS ...

It begins at once and prints what happened, as one line of JSON, when a line comes in: then all fall silent. Four
clients share a home behind one address, each with ports of its own, as a NAT would give them. All of 100.64.0.0/10 are
this namespace's own addresses, so a few sockets stand for all clients.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random

import msgspec
import trio

from engine.net.sockets import SO_RCVBUFFORCE
from engine.wire.build import build_message
from engine.wire.encapsulation import KEEPALIVE, NON_ESP_MARKER
from engine.wire.header import Exchange, parse_header
from engine.wire.payloads import PayloadType
from ikeconsole.demo.messages import init_request, random_spi

from .testbed import FIRST_CLIENT

IP_PKTINFO = 8
"""linux/in.h; Python 3.11 has no name for it."""
HOUSEMATES = 4
HOMES = 4
"""Addresses that the clients of one house have in turn."""
IKE_PORT, NAT_T_PORT = 500, 4500
ABSENT_S = (0.5, 12.0)
TALKS_S = (1.0, 5.0)
PACKETS_PER_S = 4.0
SILENT_S = (2.0, 15.0)
"""Up to longer than an idle flow lives, and shorter than the balancer keeps a session without one."""
MOST_STEPS = 6
GIVES_UP_SHARE = 0.1
"""Of the clients that begin, those that are not heard of again after IKE_SA_INIT."""
GOODBYE_SHARE = 0.6
"""Of those that leave, the ones that delete their IKE SA; the others are just gone."""
SAME_PLACE_SHARE = 0.5
RETRANSMIT_AFTER_S = (0.5, 1.0, 2.0, 4.0)
AUTH_BYTES, CHILD_BYTES, DELETE_BYTES, EMPTY_BYTES = 256, 160, 72, 48
"""Contents of encrypted messages; the real servers answer INFORMATIONAL with an empty one."""
ESP_BYTES = 200
_ESP = struct.Struct("!II4sH")
"""SPI, sequence number, and in place of something encrypted: where it was sent from."""
_PACKET_INFO = struct.Struct("=I4s4s")
_SPI_BITS = 32


class Happened(msgspec.Struct):
    """What all clients did, and what came of it."""

    connected: int = 0
    unanswered: int = 0
    """Tunnels that did not come up."""
    given_up: int = 0
    roamed: int = 0
    rekeyed: int = 0
    silences: int = 0
    deleted: int = 0
    vanished: int = 0
    lost: int = 0
    """Tunnels whose real server answered no more."""
    esp_sent: int = 0
    esp_received: int = 0
    misdelivered: int = 0
    """Echoes of ESP that came to another address or port than it was sent from."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is: its address, and the ports that its NAT gave it."""

    address: bytes
    ike: socket.socket
    nat_t: socket.socket


class TunnelLost(Exception):
    """The real server does not answer any more."""


@dataclass(slots=True)
class Tunnel:
    """One IKE SA and its ESP SAs, as the client knows them."""

    spi_i: int
    spi_r: int
    esp_spi: int
    message_id: int = 0
    sequence: int = 0


class Client:
    """One client of a service."""

    def __init__(self, number: int, service: str, crowd: Crowd) -> None:
        self._number = number
        self._service = service
        self._crowd = crowd
        self._happened = crowd.happened
        self._random = Random(number)
        self._place = self._some_place()
        self._tunnel = self._new_tunnel()
        self._awaited = (0, 0)
        """SPI and message id of the request under way."""
        self._answered = trio.Event()

    async def live(self) -> None:
        """Come and go until cancelled."""
        while True:
            await trio.sleep(self._random.uniform(*ABSENT_S))
            if self._random.random() > SAME_PLACE_SHARE:
                self._place = self._some_place()
            try:
                await self._visit()
            except TunnelLost:
                self._happened.lost += 1

    def hear(self, spi_i: int, spi_r: int, message_id: int) -> None:
        """Take in an answer."""
        if (spi_i, message_id) == self._awaited:
            self._tunnel.spi_r = self._tunnel.spi_r or spi_r
            self._answered.set()

    async def _visit(self) -> None:
        """Use one tunnel from its beginning to its end."""
        self._tunnel = self._new_tunnel()
        if self._random.random() < GIVES_UP_SHARE:
            self._send(self._place.ike, IKE_PORT, init_request(self._random, self._tunnel.spi_i, ()))
            self._happened.given_up += 1
            return
        if not await self._connect():
            self._happened.unanswered += 1
            return
        self._happened.connected += 1
        steps = (self._talk, self._talk, self._roam, self._rekey, self._renew, self._fall_silent)
        for _ in range(self._random.randint(1, MOST_STEPS)):
            await self._random.choice(steps)()
        if self._random.random() < GOODBYE_SHARE:
            await self._ask(Exchange.INFORMATIONAL, DELETE_BYTES)
            self._happened.deleted += 1
        else:
            self._happened.vanished += 1

    async def _connect(self) -> bool:
        tunnel = self._tunnel
        request = init_request(self._random, tunnel.spi_i, ())
        if not await self._repeat(self._place.ike, IKE_PORT, request, (tunnel.spi_i, 0)):
            return False
        try:
            await self._ask(Exchange.IKE_AUTH, AUTH_BYTES)
        except TunnelLost:
            return False
        return True

    async def _talk(self) -> None:
        until_s = trio.current_time() + self._random.uniform(*TALKS_S)
        while trio.current_time() < until_s:
            self._send_esp()
            await trio.sleep(self._random.expovariate(PACKETS_PER_S))
        self._send(self._place.nat_t, NAT_T_PORT, KEEPALIVE)

    async def _roam(self) -> None:
        """Go on from elsewhere: with ESP first, as clients do that move before they say so (RFC 4555), or without."""
        self._place = self._some_place()
        if self._random.random() < 0.5:
            self._send_esp()
        await self._ask(Exchange.INFORMATIONAL, EMPTY_BYTES)
        self._happened.roamed += 1
        await self._talk()

    async def _rekey(self) -> None:
        """Exchange the IKE SA for another one of the same real server, and delete the old one."""
        old = self._tunnel
        await self._ask(Exchange.CREATE_CHILD_SA, CHILD_BYTES)
        await self._ask(Exchange.INFORMATIONAL, DELETE_BYTES)
        # The first byte is the real server's: see responder.c.
        spi_r = (old.spi_r & 0xFF << 56) | self._random.getrandbits(56)
        self._tunnel = Tunnel(self._new_spi(), spi_r, old.esp_spi, sequence=old.sequence)
        await self._ask(Exchange.INFORMATIONAL, EMPTY_BYTES)
        self._happened.rekeyed += 1

    async def _renew(self) -> None:
        """Exchange the ESP SAs."""
        await self._ask(Exchange.CREATE_CHILD_SA, CHILD_BYTES)
        self._tunnel.esp_spi = random_spi(self._random, _SPI_BITS)
        self._tunnel.sequence = 0
        self._happened.rekeyed += 1
        await self._talk()

    async def _fall_silent(self) -> None:
        """Say nothing for a while, then go on where it was."""
        await trio.sleep(self._random.uniform(*SILENT_S))
        self._send_esp()
        await self._ask(Exchange.INFORMATIONAL, EMPTY_BYTES)
        self._happened.silences += 1

    async def _ask(self, exchange: Exchange, contents_bytes: int) -> None:
        """Have an encrypted request answered; raises TunnelLost."""
        tunnel = self._tunnel
        tunnel.message_id += 1
        message = build_message(
            [(PayloadType.SK, self._random.randbytes(contents_bytes))],
            spi_i=tunnel.spi_i,
            spi_r=tunnel.spi_r,
            exchange=exchange,
            message_id=tunnel.message_id,
        )
        awaited = (tunnel.spi_i, tunnel.message_id)
        if not await self._repeat(self._place.nat_t, NAT_T_PORT, NON_ESP_MARKER + message, awaited):
            raise TunnelLost

    async def _repeat(self, sock: socket.socket, port: int, request: bytes, awaited: tuple[int, int]) -> bool:
        """Send a request until it is answered; says whether it was."""
        self._awaited, self._answered = awaited, trio.Event()
        for patience_s in RETRANSMIT_AFTER_S:
            self._send(sock, port, request)
            with trio.move_on_after(patience_s):
                await self._answered.wait()
                return True
        return False

    def _send_esp(self) -> None:
        tunnel, place = self._tunnel, self._place
        tunnel.sequence += 1
        port = place.nat_t.getsockname()[1]
        head = _ESP.pack(tunnel.esp_spi, tunnel.sequence, place.address, port)
        self._send(place.nat_t, NAT_T_PORT, head.ljust(ESP_BYTES, b"\x5a"))
        self._happened.esp_sent += 1

    def _send(self, sock: socket.socket, port: int, data: bytes) -> None:
        information = _PACKET_INFO.pack(0, self._place.address, bytes(4))
        sock.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, information)], 0, (self._service, port))

    def _new_tunnel(self) -> Tunnel:
        return Tunnel(self._new_spi(), 0, random_spi(self._random, _SPI_BITS))

    def _new_spi(self) -> int:
        """An SPI that tells whose it is."""
        return (self._number + 1) << _SPI_BITS | self._random.getrandbits(_SPI_BITS)

    def _some_place(self) -> Place:
        house, ports = divmod(self._number, HOUSEMATES)
        address = IPv4Address(FIRST_CLIENT) + house * HOMES + self._random.randrange(HOMES)
        nat_t = self._crowd.nat_t[ports + HOUSEMATES * self._random.randrange(2)]
        return Place(address.packed, self._crowd.ike[ports], nat_t)


@dataclass(slots=True)
class Crowd:
    """All clients, and the sockets that they share."""

    ike: list[socket.socket]
    nat_t: list[socket.socket]
    happened: Happened = field(default_factory=Happened)
    clients: list[Client] = field(default_factory=list)

    async def listen(self, sock: socket.socket) -> None:
        """Tell clients what arrives for them."""
        port = sock.getsockname()[1]
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                while True:
                    data, [(_, _, information)], _, _ = sock.recvmsg(2048, socket.CMSG_SPACE(_PACKET_INFO.size))
                    self._deliver(data, _PACKET_INFO.unpack(information)[2], port)
            except BlockingIOError:
                pass

    def _deliver(self, data: bytes, address: bytes, port: int) -> None:
        nat_t = port >= NAT_T_PORT
        if nat_t and data[: len(NON_ESP_MARKER)] != NON_ESP_MARKER:
            self.happened.esp_received += 1
            self.happened.misdelivered += _ESP.unpack_from(data)[2:] != (address, port)
        else:
            header = parse_header(data, len(NON_ESP_MARKER) if nat_t else 0)
            self.clients[(header.spi_i >> _SPI_BITS) - 1].hear(header.spi_i, header.spi_r, header.message_id)


async def perform(number: int, services: list[str]) -> Happened:
    """Have so many clients come and go until a line is read."""
    ports = range(HOUSEMATES)
    crowd = Crowd(
        [_socket(IKE_PORT + port) for port in ports], [_socket(NAT_T_PORT + port) for port in range(2 * HOUSEMATES)]
    )
    async with trio.open_nursery() as nursery:
        for sock in (*crowd.ike, *crowd.nat_t):
            nursery.start_soon(crowd.listen, sock)
        for client in range(number):
            crowd.clients.append(Client(client, services[client // HOUSEMATES % len(services)], crowd))
            nursery.start_soon(crowd.clients[-1].live)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()
    return crowd.happened


def _socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    sock.bind(("", port))
    return sock


if __name__ == "__main__":
    print(msgspec.json.encode(trio.run(perform, int(sys.argv[1]), sys.argv[2:])).decode(), flush=True)
    sys.stdin.read()
