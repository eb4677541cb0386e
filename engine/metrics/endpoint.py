"""Where Prometheus asks: a TCP port that the configuration names, or none."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from netaddr import IPAddress

from engine.config.addresses import parse_endpoint, spell_endpoint
from engine.config.schema import Metrics
from engine.metrics.http import Collect, answer
from engine.net.sockets import BindError, family_of

MAX_CONNECTIONS: Final = 8
"""At once; more are closed unheard."""
FRESH_S: Final = 1.0
"""Whoever asks again sooner is told the same: what being asked costs has a bound."""

log = logging.getLogger(__name__)


class Endpoint:
    """The listener in force, and what answers there."""

    def __init__(self) -> None:
        self._at: tuple[IPAddress, int] | None = None
        self._listener: socket.socket | None = None
        """Not served yet."""
        self._changed = trio.Event()
        self._connections = 0
        self._collecting = trio.Lock()
        self._collected: Sequence[bytes] = []
        self._collected_s = float("-inf")

    def prepare(self, metrics: Metrics) -> socket.socket | None:
        """The listener that settings need, if it is another one.

        Raises:
            BindError: the address or port cannot be had.
        """
        at = _place(metrics)
        return None if at is None or at == self._at else _listener(*at)

    def follow(self, metrics: Metrics, prepared: socket.socket | None) -> None:
        """Put settings in force, with the listener that was prepared for them."""
        at = _place(metrics)
        if at != self._at:
            self.close()
            self._at, self._listener = at, prepared
            self._changed.set()

    def close(self) -> None:
        """Give a listener back that nobody serves."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def run(self, collect: Collect) -> None:
        """Answer with what `collect` finds, at the listener in force, until cancelled."""
        while True:
            self._changed = trio.Event()
            listener, self._listener = self._listener, None
            async with trio.open_nursery() as nursery:
                if listener is not None:
                    nursery.start_soon(self._serve, listener, collect)
                await self._changed.wait()
                nursery.cancel_scope.cancel()

    async def _serve(self, listener: socket.socket, collect: Collect) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            if self._connections >= MAX_CONNECTIONS:
                await stream.aclose()
                return
            self._connections += 1
            try:
                await answer(stream, partial(self._fresh, collect))
            except Exception:
                log.exception("a question for metrics failed")
            finally:
                self._connections -= 1

        await trio.serve_listeners(handle, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    async def _fresh(self, collect: Collect) -> Sequence[bytes]:
        async with self._collecting:
            if trio.current_time() - self._collected_s >= FRESH_S:
                self._collected = await collect()
                self._collected_s = trio.current_time()
            return self._collected


def _place(metrics: Metrics) -> tuple[IPAddress, int] | None:
    return parse_endpoint(metrics.listen) if metrics.listen else None


def _listener(address: IPAddress, port: int) -> socket.socket:
    host = str(address)
    sock = socket.socket(family_of(host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # A port that only closed connections of an engine before still have is free.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()
    except OSError as error:
        sock.close()
        raise BindError(
            f"engine.metrics.listen: {_why_not_bound(error, spell_endpoint(address, port), port)}"
        ) from error
    return sock


def _why_not_bound(error: OSError, place: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"TCP {place} is taken by another program: find it with `ss -ltnp sport = :{port}`, or change the port"
            )
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address for {place}: write one that it has"
        case errno.EACCES:
            return f"TCP {place} needs privilege: choose a port above 1023"
        case _:
            return f"TCP {place} cannot be used: {error.strerror}"
