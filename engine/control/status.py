"""What the control socket publishes of the engine, its services and its real servers.

Times and directions are named as in `records`.
"""

from __future__ import annotations

from msgspec import field

from engine.control.record import Record


class Hello(Record, frozen=True):
    """The first answer on a connection: who serves, and which protocol."""

    protocol: int
    version: str
    host: str
    pid: int
    config_path: str
    may_change: bool
    """Whether this peer's credentials allow changing calls."""


class Traffic(Record, frozen=True):
    """Packets and bytes, both directions, since the thing was made."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0


class Rates(Record, frozen=True):
    """What happens per second, over the last few seconds."""

    new_sessions: float = 0.0
    ended_sessions: float = 0.0
    packets_in: float = 0.0
    bytes_in: float = 0.0
    packets_out: float = 0.0
    bytes_out: float = 0.0


class SourceUse(Record, frozen=True):
    """How many sessions of one real server share one source address (snat)."""

    address: str
    sessions: int


class ServerStatus(Record, frozen=True):
    """One real server of one service."""

    service: str
    name: str
    address: str
    weight: int
    admin_state: str
    """enabled, drain or disabled."""
    health: str
    """up, down, or unknown before the first verdict."""
    health_reason: str
    health_since_at: float
    busy: bool
    """The server answers IKE but demands cookies."""
    rtt_s: float | None
    """Smoothed round-trip time of probes; None: never measured."""
    last_probe_s: float | None
    agent_load: int | None
    sessions: int
    half_open: int
    max_sessions: int
    share: float
    """Part of the service's sessions, 0..1."""
    weighted_share: float
    """Part it should have by weight among servers that take new sessions, 0..1."""
    new_sessions: int
    """Sessions opened since start."""
    traffic: Traffic
    source_use: list[SourceUse]
    rates: Rates = Rates()
    path: str = "slow"
    """slow, fast, or mixed: what its sessions' data takes."""
    flaps: int = 0
    """Changes between up and down in the last five minutes."""
    oldest_session_s: float | None = None
    """Age of its oldest session."""
    eased: float = 1.0
    """Part of its weight that counts so far, 0..1: below 1 while it is in slow start."""
    handshakes: int = 0
    """How many handshakes the two times that follow are of: its latest."""
    handshake_median_s: float | None = None
    """From a client's first IKE_SA_INIT to the real server's last IKE_AUTH answer; None: none was seen."""
    handshake_p95_s: float | None = None
    """What 95 of 100 take at most."""
    retransmitted_in: int = 0
    """IKE messages that clients sent again since start; `out`: that it did."""
    retransmitted_out: int = 0


class ChallengeStatus(Record, frozen=True):
    """How a service asks new clients for cookies (RFC 7296 section 2.6), and what came of it since start."""

    mode: str = "auto"
    """auto, always or off."""
    active: bool = False
    """Whether it asks now."""
    flood_since_at: float | None = None
    """When more IKE SAs began than got on; None: there is no flood."""
    sent: int = 0
    accepted: int = 0
    """Cookies that came back and were right; `refused`: that were not, so that another was sent."""
    refused: int = 0
    unanswered_per_s: float = 0.0


class ServiceStatus(Record, frozen=True):
    """One service and what it is doing."""

    name: str
    address: str
    ike_port: int
    nat_t_port: int
    source: str
    scheduler: str
    persistence: str
    persistence_timeout_s: float
    port_following: bool
    state: str
    """up, degraded (a server is down) or down (no server takes sessions)."""
    sessions: int
    half_open: int
    persistence_records: int
    new_sessions: int
    traffic: Traffic
    drops: dict[str, int]
    """Datagrams not forwarded, by reason."""
    servers: list[ServerStatus]
    rates: Rates = Rates()
    challenge: ChallengeStatus = ChallengeStatus()
    violations: dict[str, int] = field(default_factory=dict)
    """How often what should never happen did, by the kind of the alarm that tells of it."""


class Alarm(Record, frozen=True):
    """Something that is wrong now and that the operator can act on."""

    kind: str
    """A slug: server-down, server-flapping, no-server, snat-crowded, no-replies, flood, config-changed…"""
    severity: str
    """warning or error."""
    since_at: float
    text: str
    """What is wrong and who is hurt."""
    remedy: str
    """What to do."""
    place: str
    """Where the console goes for it: server, service, sessions, configuration or events."""
    service: str = ""
    server: str = ""


class FastPathDevice(Record, frozen=True):
    """A network device that the fast path wants to work on."""

    name: str
    mode: str
    """native, generic, or empty: the program is not on it."""
    egress: bool
    """Whether frames may leave by it."""
    reason: str
    """What is not as wanted; empty: all is well."""


class KernelStatus(Record, frozen=True):
    """What the kernel forwards by itself."""

    flows: int = 0
    """Flows that it has."""
    forwarded: int = 0
    """Packets since the fast path was switched on, both ways."""
    refused: dict[str, int] = field(default_factory=dict)
    """Flows that it cannot take, by reason."""
    passed_up: dict[str, int] = field(default_factory=dict)
    """Packets left to the kernel's own stack, and so to the slow path if they are for it, by reason."""
    kept_off: dict[str, int] = field(default_factory=dict)
    """Packets that came no further: challenged, those that drew the demand for a cookie; shielded, those that were
    dropped, which their services count by reason."""
    devices: list[FastPathDevice] = field(default_factory=list)


class EngineStatus(Record, frozen=True):
    """The whole engine at one moment."""

    host: str
    version: str
    pid: int
    started_at: float
    up_s: float
    """Since it was started, whoever set the clock since then."""
    now_at: float
    config_path: str
    fast_path: str
    """native, generic or off: what is, not what is configured."""
    fast_path_reason: str
    sessions: int
    """With those that are idle."""
    half_open: int
    flows: int
    max_sessions: int
    evicted: int
    """Half-open or sleeping sessions that gave way to new ones."""
    open_sockets: int
    max_open_sockets: int
    sockets_taken_back: int
    """Upstream sockets closed under flows that still had traffic, because no more may be open."""
    memory_bytes: int
    services: list[ServiceStatus]
    rates: Rates = Rates()
    alarms: list[Alarm] = field(default_factory=list)
    """The gravest first."""
    config_digest: str = ""
    """Changes whenever another configuration is put in force."""
    last_event: int = 0
    """The number of the newest event."""
    kernel: KernelStatus = KernelStatus()
    idle: int = 0
    """Sessions without a flow, known by their SPIs only: real servers and services do not count them."""

    @property
    def present(self) -> int:
        """Sessions that real servers and services count."""
        return self.sessions - self.idle


class Series(Record, frozen=True):
    """How one thing went: equally spaced points, the oldest first."""

    service: str
    """Empty: the whole engine."""
    server: str
    """Empty: the whole service."""
    step_s: float
    until_at: float
    """When the last point was taken."""
    sessions: list[int]
    new_sessions: list[float]
    """This and what follows: per second, mean over the step."""
    packets_in: list[float]
    bytes_in: list[float]
    packets_out: list[float]
    bytes_out: list[float]


class ProbeRow(Record, frozen=True):
    """What one health probe found."""

    at: float
    ok: bool
    reason: str
    rtt_s: float | None


class HealthChange(Record, frozen=True):
    """A real server's health changed."""

    at: float
    old: str
    new: str
    reason: str
    after_s: float
    """How long it had been `old`."""


class ServerHistory(Record, frozen=True):
    """What probes found of one real server, the oldest first."""

    service: str
    server: str
    changes: list[HealthChange]
    probes: list[ProbeRow]
