"""A simulated VPN client: it connects, talks, roams, notices a dead server, reconnects and leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random

import trio

from engine.net.sockets import MAX_DATAGRAM_BYTES, listener
from engine.wire.encapsulation import KEEPALIVE
from ikeconsole.demo.messages import Purpose
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
        self._entrance = entrance
        self._elsewhere = cycle(addresses)
        self._address = next(self._elsewhere)
        self._habits = habits
        self._random = rng

    async def stay(self, duration_s: float) -> None:
        """Use the VPN for a while, with a new tunnel whenever one is lost; then say goodbye."""
        until_s = trio.current_time() + duration_s
        while trio.current_time() < until_s:
            tunnel = Tunnel(self._random, self._habits.vendor_ids)
            if await self._is_welcome(tunnel, until_s):
                await self._use(tunnel, until_s)
            await trio.sleep(RECONNECT_AFTER_S)

    async def _is_welcome(self, tunnel: Tunnel, until_s: float) -> bool:
        """Exchange IKE_SA_INIT on the IKE port."""
        with trio.move_on_at(until_s), self._socket() as sock:
            for patience_s in RETRANSMIT_AFTER_S:
                await sock.sendto(tunnel.init_request(), (self._entrance.address, self._entrance.ike_port))
                with trio.move_on_after(patience_s):
                    heard = Heard.NOTHING
                    while heard is Heard.NOTHING:
                        heard = tunnel.hear_init(await sock.recv(MAX_DATAGRAM_BYTES))
                    if heard is not Heard.COOKIE:
                        return heard is Heard.ANSWER
        return False

    async def _use(self, tunnel: Tunnel, until_s: float) -> None:
        """Use a tunnel in one place after the other until it is lost or time is up."""
        opening = Purpose.AUTHENTICATE
        while True:
            leave_at_s = min(until_s, trio.current_time() + self._habits.roam_s)
            with self._socket() as sock:
                with trio.move_on_at(leave_at_s) as stay:
                    await self._use_from(sock, tunnel, opening)
                if trio.current_time() >= until_s:
                    await self._send(sock, tunnel.request(Purpose.DELETE))
            if not stay.cancelled_caught or trio.current_time() >= until_s:
                return
            opening = Purpose.MOVE
            self._address = next(self._elsewhere)

    async def _use_from(self, sock: trio.socket.SocketType, tunnel: Tunnel, opening: Purpose) -> None:
        """Use a tunnel from one socket until it is lost."""
        async with trio.open_nursery() as nursery:
            answers, answered = trio.open_memory_channel[None](0)
            nursery.start_soon(self._listen, sock, tunnel, answers, nursery.cancel_scope)
