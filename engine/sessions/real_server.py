"""A real server at run time: its configuration, its load, and what its probes say."""

from __future__ import annotations

from collections import Counter, deque

from engine.config.schema import RealServer as RealServerConfig
from engine.health.history import ProbeHistory
from engine.health.state import ServerHealth
from engine.policy.eligibility import keeps_sessions
from engine.sessions.flow import Port, SocketAddress
from engine.sessions.handshakes import Handshakes

GREETINGS_KEPT = 4


class RealServer:
    """One VPN server behind a service. Counters are kept by the session table and by the forwarder."""

    __slots__ = (
        "address",
        "agent_load",
        "asleep",
        "bytes_in",
        "bytes_out",
        "config",
        "ended_sessions",
        "established",
        "fast_flows",
        "greetings",
        "half_open",
        "handshakes",
        "health",
        "history",
        "last_resort",
        "name",
        "new_sessions",
        "packets_in",
        "packets_out",
        "ports",
        "retransmitted_in",
        "retransmitted_out",
        "source_use",
    )

    def __init__(self, config: RealServerConfig, ports: tuple[int, int], health: ServerHealth) -> None:
        self.config = config
        self.name = config.name
        """As the operator named it: with another name or address it is another server."""
        self.address = str(config.address)
        """As text."""
        self.ports = ports
        self.health = health
        self.history = ProbeHistory()
        self.last_resort = False
        """Down, but its sessions stay: it still answers on them, or no other server takes them."""
        self.agent_load: int | None = None
        self.established = 0
        self.fast_flows = 0
        """Flows whose ESP the kernel forwards."""
        self.greetings: deque[tuple[bytes, bytes]] = deque(maxlen=GREETINGS_KEPT)
        """The latest IKE_SA_INIT requests and the answers that accepted them: who both are stands there in clear."""
        self.half_open = 0
        self.asleep = 0
        self.new_sessions = 0
        self.ended_sessions = 0
        self.handshakes = Handshakes()
        self.retransmitted_in = 0
        """IKE messages that clients sent again; `out`: that it did."""
        self.retransmitted_out = 0
        self.packets_in = 0
        self.bytes_in = 0
        self.packets_out = 0
        self.bytes_out = 0
        self.source_use: Counter[str] = Counter()

    def endpoint(self, port: Port) -> SocketAddress:
        """Where flows to one of the service's ports go."""
        return (self.address, self.ports[port])

    @property
    def sessions(self) -> int:
        """How many it has in any phase: those that end with it."""
        return self.established + self.half_open + self.asleep

    @property
    def load(self) -> float:
        """Sessions as schedulers count them: a half-open one is a quarter."""
        return self.established + self.half_open / 4

    @property
    def weight(self) -> int:
        """As configured."""
        return self.config.weight

    @property
    def effective_weight(self) -> float:
        """The same: in slow start a snapshot stands for the server."""
        return self.config.weight

    @property
    def rtt_s(self) -> float | None:
        """Smoothed round-trip time of its probes; None: never measured."""
        return self.health.rtt_s

    @property
    def keeps_sessions(self) -> bool:
        """Whether sessions that it has may stay."""
        return keeps_sessions(self.config.state, "unknown" if self.last_resort else self.health.health)
