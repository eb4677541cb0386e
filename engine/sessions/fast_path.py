"""The kernel's part of forwarding, as sessions and slow path deal with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

import msgspec

from engine.sessions.flow import Flow, SocketAddress
from engine.sessions.real_server import RealServer


class Forwarded(msgspec.Struct, frozen=True):
    """A flow that the kernel forwards since an earlier engine; `found` is what leads to it there."""

    client: SocketAddress
    service: SocketAddress
    source: SocketAddress
    server: SocketAddress
    client_silent_s: float
    server_silent_s: float
    esp_in: int
    """The first word of the latest ESP from the client, as the machine reads it; 0: none has passed."""
    esp_out: int
    found: object


Carried: TypeAlias = Callable[[Flow, float], None]
"""Told that the kernel has forwarded ESP of a flow on which a session is being set up, and the time."""


class FastPath(Protocol):
    """Takes flows that need no look over, and gives them back."""

    def tell(self, carried: Carried) -> None:
        """Tell this of flows from now on."""
        ...

    def offer(self, flow: Flow) -> None:
        """Look at a flow that ended, or whose sessions or source changed: the kernel may have it now, or may not."""
        ...

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Bring a flow's counters and the moments it was last seen up to date."""
        ...

    def count(self, server: RealServer) -> None:
        """Bring a real server's counters up to date."""
        ...

    def abandon(self, server: RealServer, now_s: float) -> Iterable[int]:
        """Take a real server's flows back at once, some of them each turn: faster than session by session."""
        ...

    def tunnels_begin(self, now_s: float) -> None:
        """An answer that is about to leave completes a tunnel: its ESP may come right after, and overtakes nothing."""
        ...

    def at_rest(self, now_s: float) -> None:
        """The slow path holds no datagrams: a flow can change paths now without one overtaking another."""
        ...


class NoFastPath:
    """Everything takes the slow path."""

    def tell(self, carried: Carried) -> None:
        """There will be nothing to tell."""

    def offer(self, flow: Flow) -> None:
        """Leave it there."""

    def refresh(self, flow: Flow, now_s: float) -> None:
        """Nothing else has seen the flow."""

    def count(self, server: RealServer) -> None:
        """They are."""

    def abandon(self, server: RealServer, now_s: float) -> Iterable[int]:
        """It has none."""
        return ()

    def tunnels_begin(self, now_s: float) -> None:
        """They begin on the slow path."""

    def at_rest(self, now_s: float) -> None:
        """Nothing waits for it."""
