"""A simulated VPN client: it connects, talks, roams, notices a dead server, reconnects and leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random

import trio

from engine.net.sockets import listener
from engine.wire.encapsulation import KEEPALIVE
from ikeconsole.demo.messages import DATAGRAM_BYTES, INFORMATIONAL_BYTES, Purpose
from ikeconsole.demo.tunnel import Heard, Tunnel

RETRANSMIT_AFTER_S = (0.5, 1.0, 2.0, 4.0)
"""How long a request waits for its answer, each time it is sent."""
RECONNECT_AFTER_S = 0.5
_SMALLEST_PACKET_BYTES, _LARGEST_PACKET_BYTES = 40, 600


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a service takes clients."""

    address: str
    ike_port: int
    nat_t_port: int


@dataclass(frozen=True, slots=True)
class Habits:
    """How a client behaves; all times in seconds."""

    vendor_ids: tuple[bytes, ...] = ()
    auth_bytes: int = 400
    """Size of its IKE_AUTH request; certificates make it big."""
    packets_per_s: float = 10.0
    keepalive_s: float = 5.0
    liveness_check_s: float = 5.0
    """Between two questions whether the real server still has the tunnel."""
    roam_s: float = math.inf
    """How long it stays in one place; then it goes on from another port and its next address."""


class Client:
    """A client of a service, which takes its addresses in turn whenever it roams."""

    def __init__(self, entrance: Entrance, addresses: Sequence[str], habits: Habits, rng: Random) -> None:
        self.connections = 0
        """How many tunnels it has set up so far."""
        self.received = 0
        """How many ESP packets have reached it."""
        self.entrance = entrance
        self.habits = habits
        self.random = rng
        self._itinerary = cycle(addresses)
        self._address = next(self._itinerary)

    async def stay(self, duration_s: float) -> None:
        """Use the VPN for a while, with a new tunnel whenever one is lost; then say goodbye."""
        until_s = trio.current_time() + duration_s
        while trio.current_time() < until_s:
            tunnel = Tunnel(self.random, self.habits.vendor_ids)
            if await self._is_welcome(tunnel, until_s):
                await self._use(tunnel, until_s)
            with trio.move_on_at(until_s):
                await trio.sleep(RECONNECT_AFTER_S)

    async def _is_welcome(self, tunnel: Tunnel, until_s: float) -> bool:
        """Exchange IKE_SA_INIT on the IKE port."""
        with trio.move_on_at(until_s), self._socket() as sock:
            for patience_s in RETRANSMIT_AFTER_S:
                await sock.sendto(tunnel.init_request(), (self.entrance.address, self.entrance.ike_port))
                with trio.move_on_after(patience_s):
                    heard = Heard.NOTHING
                    while heard is Heard.NOTHING:
                        heard = tunnel.hear_init(await sock.recv(DATAGRAM_BYTES))
                    if heard is not Heard.COOKIE:
                        return heard is Heard.ANSWER
        return False

    async def _use(self, tunnel: Tunnel, until_s: float) -> None:
        """Use a tunnel in one place after the other, until it is lost or time is up."""
        opening = Purpose.AUTHENTICATE
        while True:
            with self._socket() as sock:
                place = _Place(self, tunnel, sock)
                with trio.move_on_at(min(until_s, trio.current_time() + self.habits.roam_s)) as visit:
                    await place.use(opening)
                if not visit.cancelled_caught:
                    return
                if trio.current_time() >= until_s:
                    await place.send(tunnel.request(Purpose.DELETE))
                    return
            opening = Purpose.MOVE
            self._address = next(self._itinerary)

    def _socket(self) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(listener(self._address, 0))


class _Place:
    """The UDP socket from which a client uses its tunnel until it roams."""

    def __init__(self, client: Client, tunnel: Tunnel, sock: trio.socket.SocketType) -> None:
        self._client = client
        self._habits = client.habits
        self._tunnel = tunnel
        self._socket = sock
        self._answered = trio.Event()

    async def use(self, opening: Purpose) -> None:
        """Say who is there, then use the tunnel until it is lost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            if opening is Purpose.MOVE:
                # Clients move their SAs before they say so (RFC 4555), hence ESP comes first.
                await self._talk_once()
            alive = await self._ask(opening)
            if alive:
                self._client.connections += opening is Purpose.AUTHENTICATE
                nursery.start_soon(self._talk)
                nursery.start_soon(self._keep_alive)
            while alive:
                await trio.sleep(self._habits.liveness_check_s)
                alive = await self._ask(Purpose.CHECK_LIVENESS)
            nursery.cancel_scope.cancel()

    async def send(self, datagram: bytes) -> None:
        """Send to the NAT-T port."""
        entrance = self._client.entrance
        await self._socket.sendto(datagram, (entrance.address, entrance.nat_t_port))

    async def _ask(self, purpose: Purpose) -> bool:
        """Repeat a request until it is answered; says whether it was."""
        size_bytes = self._habits.auth_bytes if purpose is Purpose.AUTHENTICATE else INFORMATIONAL_BYTES
        request = self._tunnel.request(purpose, size_bytes)
        self._answered = trio.Event()
        for patience_s in RETRANSMIT_AFTER_S:
            await self.send(request)
            with trio.move_on_after(patience_s):
                await self._answered.wait()
                return True
        return False

    async def _listen(self, tunnel_lost: trio.CancelScope) -> None:
        while True:
            match self._tunnel.hear(await self._socket.recv(DATAGRAM_BYTES)):
                case Heard.TRAFFIC:
                    self._client.received += 1
                case Heard.ANSWER:
                    self._answered.set()
                case Heard.REFUSAL:
                    tunnel_lost.cancel()

    async def _talk(self) -> None:
        while True:
            await self._talk_once()
            await trio.sleep(self._client.random.expovariate(self._habits.packets_per_s))

    async def _talk_once(self) -> None:
        size_bytes = self._client.random.randint(_SMALLEST_PACKET_BYTES, _LARGEST_PACKET_BYTES)
        await self.send(self._tunnel.esp(size_bytes))

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self._habits.keepalive_s)
            await self.send(KEEPALIVE)
