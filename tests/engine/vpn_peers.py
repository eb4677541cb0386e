"""Simulated VPN servers and clients on loopback that tests start, stop and question step by step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random

import trio

from engine.control.status import Traffic
from engine.net.sockets import listener
from ikeconsole.demo.messages import Purpose
from ikeconsole.demo.responder import Responder, VpnServer
from ikeconsole.demo.tunnel import Heard, Tunnel

IKE_PORT = 10_500
NAT_T_PORT = 14_500
DEADLINE_S = 10.0
_MAX_DATAGRAM_BYTES = 65_535

_PID = os.getpid()
_seeds = count()


def address(host: int) -> str:
    """A loopback address of this test run's own: runs at the same time stay out of each other's way."""
    return f"127.{1 + _PID % 253}.{_PID // 253 % 256}.{host}"


class Server:
    """A real server that can be stopped, so that nobody listens on its ports, and started again without its SAs."""

    def __init__(self, host: str, ike_port: int = IKE_PORT, nat_t_port: int = NAT_T_PORT) -> None:
        self.host = host
        self.vpn = VpnServer(Random(host))
        self._ports = ike_port, nat_t_port
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    @property
    def ike_sas(self) -> int:
        """How many IKE SAs it knows."""
        return self.vpn.ike_sas

    async def start(self, nursery: trio.Nursery) -> None:
        """Listen from now on."""
        await nursery.start(self._run)

    async def stop(self) -> None:
        """Close the ports and lose every SA."""
        self._scope.cancel()
        await self._stopped.wait()
        self.vpn.forget()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        with self._scope:
            await Responder(self.host, *self._ports, self.vpn).run(task_status=task_status)
        self._stopped.set()


class Client:
    """A VPN client: IKE_SA_INIT to the IKE port, all else from a second socket to the NAT-T port."""

    def __init__(self, host: str, service: str, ike: trio.socket.SocketType, nat_t: trio.socket.SocketType) -> None:
        self.host = host
        self.tunnel = Tunnel(Random(next(_seeds)), ())
        self.service = service
        self.ike_port, self.nat_t_port = IKE_PORT, NAT_T_PORT
        self._ike, self._nat_t = ike, nat_t
        self._sent: list[int] = []
        self._heard: list[int] = []

    @property
    def traffic(self) -> Traffic:
        """What it sent and heard so far, as the engine should have counted it."""
        return Traffic(
            packets_in=len(self._sent),
            bytes_in=sum(self._sent),
            packets_out=len(self._heard),
            bytes_out=sum(self._heard),
        )

    async def connect(self) -> None:
        """Set up a new tunnel and pass data through it once."""
        await self.init()
        await self.authenticate()
        await self.echo()

    async def init(self) -> None:
        """Exchange IKE_SA_INIT of a new IKE SA."""
        await self.send_init()
        with trio.fail_after(DEADLINE_S):
            while self.tunnel.hear_init(await self._hear(self._ike)) is not Heard.ANSWER:
                pass

    async def send_init(self) -> None:
        """Ask for a new IKE SA, whether or not anybody will answer."""
        self.tunnel = Tunnel(Random(self.tunnel.spi_i), ())
        await self._send(self._ike, self.tunnel.init_request(), self.ike_port)

    async def authenticate(self) -> None:
        """Exchange IKE_AUTH."""
        await self._ask(self.tunnel.request(Purpose.AUTHENTICATE, 400), Heard.ANSWER)

    async def echo(self) -> None:
        """Send ESP and wait for the real server's ESP."""
        await self._ask(self.tunnel.esp(100), Heard.TRAFFIC)

    async def is_known(self) -> bool:
        """Whether the real server that is reached now is the one that the tunnel was set up with."""
        question = self.tunnel.request(Purpose.CHECK_LIVENESS)
        return await self._ask(question, Heard.ANSWER, Heard.REFUSAL) is Heard.ANSWER

    async def send(self, datagram: bytes) -> None:
        """Send anything to the NAT-T port."""
        await self._send(self._nat_t, datagram, self.nat_t_port)

    async def _ask(self, datagram: bytes, *awaited: Heard) -> Heard:
        await self.send(datagram)
        with trio.fail_after(DEADLINE_S):
            while True:
                if (heard := self.tunnel.hear(await self._hear(self._nat_t))) in awaited:
                    return heard

    async def _send(self, sock: trio.socket.SocketType, datagram: bytes, port: int) -> None:
        await sock.sendto(datagram, (self.service, port))
        self._sent.append(len(datagram))

    async def _hear(self, sock: trio.socket.SocketType) -> bytes:
        datagram = await sock.recv(_MAX_DATAGRAM_BYTES)
        self._heard.append(len(datagram))
        return datagram


@contextmanager
def client(host: str, service: str) -> Iterator[Client]:
    """A client at an address, of a service at another."""
    with _socket(host) as ike, _socket(host) as nat_t:
        yield Client(host, service, ike, nat_t)


def _socket(host: str) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(listener(host, 0))
