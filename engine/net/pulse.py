"""A beat that only a turn of the pump carries: as long as it is felt, datagrams are forwarded."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from engine.net.pump import Pump

_BEAT: Final = b"\0"


class Pulse:
    """Two ends of a socket: the pump watches one among the sockets of the data path, beats go into the other.

    Not a UDP socket on loopback: a firewall's mistake there must not look like a pump that stands still.
    """

    def __init__(self, pump: Pump, felt: Callable[[], None]) -> None:
        """`felt` is called by the pump for every beat that came through it."""
        self._pump = pump
        self._felt = felt
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        pump.watch(self._receiver.fileno(), self._drain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pump.forget(self._receiver.fileno())
        self._sender.close()
        self._receiver.close()

    def beat(self) -> None:
        """Send one; where earlier ones still wait for the pump, they do as well."""
        with suppress(BlockingIOError):
            self._sender.send(_BEAT)

    def _drain(self, now_s: float) -> None:
        self._receiver.recv(len(_BEAT))
        self._felt()
