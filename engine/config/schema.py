"""The configuration's schema: every key of config.toml, its type and its default."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Annotated

import msgspec
from msgspec import Meta, field
from msgspec.structs import FieldInfo, fields
from netaddr import IPAddress


class Duration(float):
    """A time span in seconds, written "5s", "30m", "1h30m" in TOML."""

    __slots__ = ()


WEEK_S = 7 * 24 * 3600

Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrDefault = Annotated[int, Meta(ge=0, le=65535)]
Span = Annotated[Duration, Meta(extra={"min_s": 0.1, "max_s": WEEK_S})]
SpanOrNone = Annotated[Duration, Meta(extra={"min_s": 0, "max_s": WEEK_S})]
Probes = Annotated[int, Meta(ge=1, le=100)]


class Source(StrEnum):
    """What a real server sees as the source of a client's packets."""

    TRANSPARENT = "transparent"
    SNAT = "snat"


class SchedulerKind(StrEnum):
    """How a new session finds its real server."""

    ROUND_ROBIN = "round-robin"
    WEIGHTED_ROUND_ROBIN = "weighted-round-robin"
    LEAST_CONNECTIONS = "least-connections"
    WEIGHTED_LEAST_CONNECTIONS = "weighted-least-connections"
    FIXED = "fixed"
    SOURCE_HASH = "source-hash"
    WEIGHTED_RESPONSE_TIME = "weighted-response-time"
    ADAPTIVE = "adaptive"
    MAGLEV = "maglev"
    SHORTEST_EXPECTED_DELAY = "shortest-expected-delay"
    TWO_CHOICES = "two-choices"


class PersistenceKind(StrEnum):
    """What returns a client to the server it had."""

    SOURCE_ADDRESS = "source-address"
    IKE_SPI = "ike-spi"
    NONE = "none"


class CookieChallenge(StrEnum):
    """Whether clients must prove their address before anything is kept of them (RFC 7296 section 2.6)."""

    AUTO = "auto"
    ALWAYS = "always"
    OFF = "off"


class HealthKind(StrEnum):
    """What a health probe speaks."""

    IKE = "ike"
    ICMP = "icmp"
    TCP = "tcp"
    EXEC = "exec"
    NONE = "none"


class IkeProbe(StrEnum):
    """Which stateless question an IKE probe asks."""

    AUTO = "auto"
    VERSION = "version"
    INIT = "init"


class AdminState(StrEnum):
    """What the operator wants of a real server."""

    ENABLED = "enabled"
    DRAIN = "drain"
    DISABLED = "disabled"


class FastPath(StrEnum):
    """Whether established flows may bypass the engine in the kernel."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"
    OFF = "off"


class LogLevel(StrEnum):
    """How much the engine writes to its log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the configuration: immutable, no unknown keys."""


class Metrics(Record, frozen=True):
    """[engine.metrics]: counters and states for Prometheus."""

    listen: str = ""
    """Address and TCP port, as in "127.0.0.1:9466"; empty: none are served."""


class EngineSection(Record, frozen=True):
    """[engine]: what concerns the whole process."""

    control_socket: str = ""
    """Path of the control socket; empty: the runtime directory of root or of the user."""
    control_group: str = ""
    """Group whose members may use and change things over the control socket."""
    state_dir: str = ""
    """Where history is kept; empty: the state directory of root or of the user."""
    fast_path: FastPath = FastPath.AUTO
    max_sessions: Annotated[int, Meta(ge=1, le=10_000_000)] = 200_000
    max_open_sockets: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Upstream sockets open at once; 0: as many as the file limit allows."""
    log_level: LogLevel = LogLevel.INFO
    metrics: Metrics = Metrics()


class PrefixLengths(Record, frozen=True):
    """How many leading bits of a client's address make it one client."""

    v4: Annotated[int, Meta(ge=0, le=32)] = 32
    v6: Annotated[int, Meta(ge=0, le=128)] = 128


class Timeouts(Record, frozen=True):
    """When silence ends what the balancer remembers."""

    half_open_s: Span = field(name="half_open", default=Duration(30))
    ike_idle_s: Span = field(name="ike_idle", default=Duration(180))
    nat_t_idle_s: Span = field(name="nat_t_idle", default=Duration(300))
    spi_binding_s: Span = field(name="spi_binding", default=Duration(3600))


class Health(Record, frozen=True):
    """[service.health]: how real servers are probed."""

    type: HealthKind = HealthKind.IKE
    ike_probe: IkeProbe = IkeProbe.AUTO
    port: PortOrDefault = 0
    """UDP or TCP port probed; 0: the IKE port of the real server (tcp has no default)."""
    command: list[str] = []
    """For exec: program and arguments; {address} and {name} are filled in."""
    interval_s: Span = field(name="interval", default=Duration(5))
    timeout_s: Span = field(name="timeout", default=Duration(2))
    fall: Probes = 3
    rise: Probes = 2


class Agent(Record, frozen=True):
    """[service.agent]: the load agent on each real server, asked by the adaptive scheduler."""

    port: Port = 3333
    path: str = "/load"
    interval_s: Span = field(name="interval", default=Duration(7))
    timeout_s: Span = field(name="timeout", default=Duration(2))


class RealServer(Record, frozen=True):
    """[[service.real_server]]: one VPN server behind the service."""

    name: str
    address: IPAddress
    ike_port: PortOrDefault = 0
    """0: the service's IKE port."""
    nat_t_port: PortOrDefault = 0
    """0: the service's NAT-T port."""
    weight: Annotated[int, Meta(ge=0, le=65535)] = 100
    state: AdminState = AdminState.ENABLED
    max_sessions: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """0: no limit."""


class Service(Record, frozen=True):
    """[[service]]: one virtual address with its IKE and NAT-T ports."""

    name: str
    address: IPAddress
    ike_port: Port = 500
    nat_t_port: Port = 4500
    source: Source = Source.TRANSPARENT
    snat_addresses: list[str] = []
    """Pool of source addresses: single ones, "A-B" ranges or CIDR blocks."""
    port_following: bool = True
    scheduler: SchedulerKind = SchedulerKind.WEIGHTED_LEAST_CONNECTIONS
    persistence: PersistenceKind = PersistenceKind.SOURCE_ADDRESS
    persistence_timeout_s: Span = field(name="persistence_timeout", default=Duration(1800))
    persistence_prefix: PrefixLengths = PrefixLengths()
    slow_start_s: SpanOrNone = field(name="slow_start", default=Duration(0))
    cookie_challenge: CookieChallenge = CookieChallenge.AUTO
    cookie_threshold: Annotated[int, Meta(ge=1, le=10_000_000)] = 1000
    """Half-open sessions above which auto asks for cookies.

    More than a site of several hundred has when all of it comes back at once, and no more than a flood of 34 forged
    messages a second leaves behind in the 30 s of a half-open session.
    """
    half_open_per_source: Annotated[int, Meta(ge=0, le=10_000_000)] = 2000
    """0: no limit. Above the threshold, so that forged messages are challenged before they use an address up."""
    half_open_limit: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """0: none, so that in a full table the oldest gives way instead of the newest being refused."""
    timeouts: Timeouts = Timeouts()
    health: Health = Health()
    agent: Agent = Agent()
    real_servers: list[RealServer] = field(name="real_server", default_factory=list)


class Config(Record, frozen=True):
    """The whole of config.toml."""

    engine: EngineSection = EngineSection()
    services: list[Service] = field(name="service", default_factory=list)


@cache
def fields_of(kind: type[Record]) -> tuple[FieldInfo, ...]:
    """The fields of a record, looked up once: msgspec works them out anew each time, for thousands of real servers."""
    return fields(kind)
