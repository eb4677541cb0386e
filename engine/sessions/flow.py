"""One UDP 5-tuple between a client and a service."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Protocol, TypeAlias

from engine.sessions.expiry import NEVER

if TYPE_CHECKING:
    from engine.sessions.persistence import PersistenceRecord
    from engine.sessions.real_server import RealServer
    from engine.sessions.service import Service
    from engine.sessions.session import Session

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What the kernel reports as a datagram's source: (host, port), for IPv6 with flow label and scope."""


class Port(IntEnum):
    """Which of a service's two ports a flow goes to."""

    IKE = 0
    NAT_T = 1


_IKE, _NAT_T = Port.IKE, Port.NAT_T


class ClientSide(Protocol):
    """The listener through which a flow's client is reached."""

    def reply(self, flow: Flow, size: int, now_s: float) -> None:
        """Send the datagram of `size` bytes in the outbox's slot to a flow's client."""
        ...

    def forget(self, flow: Flow) -> None:
        """The flow has ended."""
        ...


class Upstream(Protocol):
    """What stands for a flow's client towards its real server."""

    def send(self, data: memoryview, /) -> int:
        """Send a datagram to the real server."""
        ...


class Flow:
    """A 5-tuple: where it goes, what passed, and the sessions it carries.

    Counters are kept here and on the real server by whoever forwards a datagram. `settled`: no datagram
    but an IKE message and ESP with a new SPI needs a look, for this is a proven NAT-T flow without half-open sessions.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "client",
        "created_s",
        "esp_in",
        "esp_out",
        "fast",
        "last_in_s",
        "last_out_s",
        "listener",
        "looked_at_s",
        "owner",
        "packets_in",
        "packets_out",
        "peer",
        "persistence",
        "port",
        "proven",
        "receive",
        "server",
        "service",
        "sessions",
        "settled",
        "source",
        "upstream",
        "why",
    )

    def __init__(self, service: Service, port: Port, client: SocketAddress, server: RealServer, now_s: float) -> None:
        self.service = service
        self.port = port
        self.client = client
        self.server = server
        self.sessions: tuple[Session, ...] = ()
        """Oldest first."""
        self.owner: Session | None = None
        """The session that its ESP is taken to belong to: the newest that was set up, else the newest."""
        self.proven = False
        """Whether the real server has shown that its client is there: anybody can send packets under any address."""
        self.why = ""
        """By what a known session's flow was recognised."""
        self.esp_in: tuple[int, ...] = ()
        """The first words of the ESP that came from the client, as the machine reads them; the latest few."""
        self.esp_out: tuple[int, ...] = ()
        self.settled = False
        self.upstream: Upstream | None = None
        self.receive: Callable[[memoryview], int] | None = None
        self.listener: ClientSide | None = None
        self.peer = b""
        """The client's address as the kernel writes it."""
        self.source: SocketAddress | None = None
        self.fast = False
        """Whether the kernel has forwarded ESP of it."""
        self.persistence: PersistenceRecord | None = None
        self.looked_at_s = NEVER
        self.created_s = now_s
        self.last_in_s = now_s
        self.last_out_s = 0.0
        self.packets_in = 0
        self.bytes_in = 0
        self.packets_out = 0
        self.bytes_out = 0

    @property
    def last_seen_s(self) -> float:
        """When a datagram last passed, either way."""
        return max(self.last_in_s, self.last_out_s)

    @property
    def idle_timeout_s(self) -> float:
        """Silence after which the flow is forgotten."""
        timeouts = self.service.config.timeouts
        return timeouts.ike_idle_s if self.port is _IKE else timeouts.nat_t_idle_s

    @property
    def proof_due_s(self) -> float:
        """When a known session's client must have been shown to be there, for the flow to stay."""
        if self.proven or self.port is _IKE:
            return inf
        for session in self.sessions:
            if session.half_open:
                return inf
        return self.created_s + self.service.config.timeouts.half_open_s

    @property
    def is_left(self) -> bool:
        """Whether the clients of all its sessions have been shown to be elsewhere on the NAT-T port since."""
        places = [session.place for session in self.sessions]
        return self.port is _NAT_T and all(place is not None and place != self.client for place in places)

    def carry(self, session: Session) -> None:
        """Carry one more session."""
        self.sessions += (session,)
        session.flows += (self,)

    def let_go(self, session: Session) -> None:
        """Carry a session no longer."""
        self.sessions = tuple(other for other in self.sessions if other is not session)
        session.flows = tuple(other for other in session.flows if other is not self)

    def change_path(self, *, fast: bool) -> None:
        """Note whether the kernel forwards its ESP."""
        if fast is not self.fast:
            self.fast = fast
            self.server.fast_flows += 1 if fast else -1

    def settle(self) -> None:
        """Work out again whether every datagram must be looked at, and which session owns the flow."""
        settled = self.port is _NAT_T and self.proven
        owner: Session | None = None
        for session in self.sessions:
            if session.half_open:
                settled = False
                if owner is not None and not owner.half_open:
                    continue
            owner = session
        self.settled = settled
        if owner is not self.owner:
            if self.owner is not None:
                self.owner.take_leave_of(self)
            self.owner = owner
            # What passes from now on is the new owner's, its SPIs as well.
            self.esp_in = self.esp_out = ()


def format_address(address: SocketAddress) -> str:
    """address:port, with brackets around IPv6."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
