"""What the control socket publishes: every record a client can receive.

Times named `_s` are ages or spans in seconds; `_at` are Unix times in seconds. `in` is from the client
to the real server, `out` the way back.
"""

from __future__ import annotations

from typing import Any

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


class Alarm(Record, frozen=True):
    """Something that is wrong now and that the operator can act on."""

    kind: str
    """A slug: server-down, server-flapping, no-server, snat-crowded, no-replies, table-near-full, config-changed…"""
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
    refused: dict[str, int] = {}
    """Flows that it cannot take, by reason."""
    passed_up: dict[str, int] = {}
    """Packets left to the kernel's own stack, and so to the slow path if they are for it, by reason."""
    devices: list[FastPathDevice] = []


class EngineStatus(Record, frozen=True):
    """The whole engine at one moment."""

    host: str
    version: str
    pid: int
    started_at: float
    now_at: float
    config_path: str
    fast_path: str
    """native, generic or off: what is, not what is configured."""
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
    rates: Rates = Rates()
    alarms: list[Alarm] = []
    """The gravest first."""
    config_digest: str = ""
    """Changes whenever another configuration is put in force."""
    last_event: int = 0
    """The number of the newest event."""
    kernel: KernelStatus = KernelStatus()


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
    pinned: bool = False
    """The operator bound its client to its real server."""


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
    pinned: bool = False
    """Made by the operator: it does not expire, and `left_s` is 0."""


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
    filter: str = ""
    """A filter line such as `server:rras-1 phase:auth idle>60s`; its conditions hold beside the others."""
    sort: str = "age"
    """Any of `engine.sessions.browsing.SORTS`."""
    descending: bool = False
    offset: int = 0
    limit: int = 100
    max_age_s: float = 0.0
    """How old the order of the rows may be: scrolling through a table needs no new one for every window."""


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


class Effect(Record, frozen=True):
    """What a change would do, said before it is made."""

    lines: list[str]
    """Sentences for the operator, the most important first."""
    sessions: int = 0
    """How many sessions it would end or move."""


class Settings(Record, frozen=True):
    """The running configuration as tables that can be edited."""

    base: str
    """Names this very state of the configuration; a change is made against it."""
    path: str
    tables: dict[str, Any]
    """As in the file, keys with their default left out."""


class ConfigProblem(Record, frozen=True):
    """One thing to put right in a configuration, in the words of `ikeconsole check`."""

    key: str
    message: str


class Plan(Record, frozen=True):
    """What edited settings would change; nothing has been done."""

    problems: list[ConfigProblem]
    """Not empty: it cannot be applied, and what follows is empty."""
    changes: list[str] = []
    """One line for each key or table: `always-on-vpn scheduler: round-robin → fixed`, `+ real_server rras-4 …`."""
    difference: str = ""
    """Unified diff of the file."""
    lines_added: int = 0
    lines_removed: int = 0
    effect: Effect = Effect(lines=[])


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
