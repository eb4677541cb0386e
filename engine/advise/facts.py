"""What advice is drawn from: services and real servers as the engine sees them at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from engine.advise.products import Product
from engine.advise.routes import Route
from engine.config.schema import RealServer as RealServerConfig
from engine.config.schema import Service as ServiceConfig
from engine.sessions.invariants import FragmentedAuth


class Fragmentation(Enum):
    """Who of a client and a real server said in IKE_SA_INIT that it can cut IKE messages up (RFC 7383)."""

    UNKNOWN = auto()
    BOTH = auto()
    CLIENT_LACKS = auto()
    """The client did not; the server then must not either, so nothing is known of it."""
    SERVER_LACKS = auto()


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One real server."""

    config: RealServerConfig
    product: Product = Product.UNKNOWN
    health: str = "up"
    probe_reason: str = ""
    busy: bool = False
    """It demands cookies of the balancer's probes."""
    downs: int = 0
    """How often it went down, as far as its history is kept."""
    sessions: int = 0
    half_open: int = 0
    takes_new: bool = True
    share: float = 0.0
    """Part of the service's sessions, 0..1."""
    weighted_share: float = 0.0
    """Part it should have by weight, 0..1."""
    packets_in: int = 0
    packets_out: int = 0
    unanswered: int = 0
    """Clients that asked again and again and got no answer."""
    source_use: Mapping[str, int] = field(default_factory=dict)
    """Sessions by the address that they come from (snat)."""
    fragmentation: Fragmentation = Fragmentation.UNKNOWN
    reauthenticated: int = 0
    """Sessions that a client began on the NAT-T flow of an earlier one."""
    route: Route | None = None

    @property
    def name(self) -> str:
        """The name the operator gave it."""
        return self.config.name


@dataclass(frozen=True, slots=True)
class Office:
    """The client address with the most sessions."""

    address: str
    sessions: int
    servers: tuple[str, ...]
    """The real servers that they are on."""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """One service."""

    config: ServiceConfig
    servers: tuple[ServerFacts, ...]
    windows_clients: bool = False
    """Whether a client that connected lately was Windows."""
    office: Office | None = None
    violations: Counter[str] = field(default_factory=Counter)
    """How often each invariant was violated, by its kind."""
    fragmented: FragmentedAuth | None = None
    """The latest IKE_AUTH message that IP had to fragment."""

    @property
    def name(self) -> str:
        """The name the operator gave it."""
        return self.config.name

    @property
    def sessions(self) -> int:
        """On all real servers."""
        return sum(server.sessions for server in self.servers)
