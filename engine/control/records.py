"""What the control socket publishes: every record a client can receive.

Times named `_s` are ages or spans in seconds; `_at` are Unix times in seconds. `in` is from the client
to the real server, `out` the way back.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A published record: immutable; clients ignore fields they do not know."""


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


class EngineStatus(Record, frozen=True):
    """The whole engine at one moment."""

    host: str
    version: str
    pid: int
    started_at: float
    now_at: float
    config_path: str
    fast_path: str
    fast_path_reason: str
    sessions: int
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


class FlowRow(Record, frozen=True):
    """One UDP 5-tuple of a session."""

    client: str
    """address:port, [address]:port for IPv6."""
    port: str
    """ike or nat-t."""
    source: str
    """What the real server sees; empty when no upstream socket was made yet."""
    path: str
    """slow or fast."""
    idle_s: float
    traffic: Traffic


class SessionRow(Record, frozen=True):
    """One session as a list shows it."""

    id: int
    service: str
    server: str
    client: str
    """The client of its newest flow, address:port."""
    phase: str
    age_s: float
    idle_s: float
    traffic: Traffic
    path: str
    why: str
    spi_i: str
    """16 hex digits; empty when no IKE message was seen."""
    spi_r: str


class MessageRow(Record, frozen=True):
    """One cleartext IKE header that was seen."""

    at: float
    direction: str
    """in or out."""
    exchange: str
    message_id: int
    response: bool
    size_bytes: int


class PersistenceRow(Record, frozen=True):
    """One persistence record."""

    service: str
    client: str
    """Address with prefix."""
    server: str
    left_s: float


class SessionDetail(Record, frozen=True):
    """Everything known of one session."""

    row: SessionRow
    vendor: str
    flows: list[FlowRow]
    persistence: PersistenceRow | None
    messages: list[MessageRow]


class SessionQuery(Record, frozen=True):
    """Which sessions are asked for: all given conditions hold."""

    service: str | None = None
    server: str | None = None
    client: str | None = None
    """An address or a prefix."""
    spi: str | None = None
    """The first hex digits of either SPI."""
    phase: str | None = None
    idle_over_s: float | None = None
    sort: str = "age"
    """age, idle, client, server, phase, bytes_in, bytes_out."""
    descending: bool = False
    offset: int = 0
    limit: int = 100


class SessionPage(Record, frozen=True):
    """The window of a query's answer."""

    total: int
    """Sessions in the table."""
    matched: int
    offset: int
    rows: list[SessionRow]


class Explanation(Record, frozen=True):
    """Why a client is where it is, and where a new session of it would go."""

    client: str
    service: str
    sessions: list[SessionDetail]
    persistence: PersistenceRow | None
    next_server: str
    """Where a new session would go now; empty: nowhere."""
    next_reason: str


class Change(Record, frozen=True):
    """What a changing call did."""

    done: str
    """One sentence for the operator."""
    sessions: int = 0
    """How many sessions it touched."""


class ConfigState(Record, frozen=True):
    """The running configuration and the file it came from."""

    path: str
    text: str
    """The effective configuration, every default written out, as TOML."""
    on_disk_differs: bool
    difference: str
    """Unified diff from the text the engine runs to the text on disk; empty when alike."""


class Revision(Record, frozen=True):
    """One entry of the configuration's history."""

    number: int
    at: float
    author: str
    summary: str
    difference: str


class Event(Record, frozen=True):
    """Something that happened."""

    number: int
    at: float
    severity: str
    """info, notice, warning or error."""
    kind: str
    """A slug such as server-down, session-opened, config-applied."""
    text: str
    service: str = ""
    server: str = ""
    client: str = ""
