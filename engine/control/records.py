"""What the control socket publishes of sessions, events and changes.

Times named `_s` are ages or spans in seconds; `_at` are Unix times in seconds. `in` is from the client
to the real server, `out` the way back.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from engine.control.record import Record
from engine.control.status import Traffic


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
    proven: bool = True
    """Whether the real server has shown its client to be there; before that anybody could have sent what came."""


class SessionRow(Record, frozen=True):
    """One session as a list shows it."""

    id: int
    service: str
    server: str
    client: str
    """Where its client was last shown to be, address:port."""
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
    vendor: str = ""
    """The client's product, as far as its vendor ids tell; empty: unknown."""
    error: str = ""
    """Name of the last error seen in the clear; with a question mark when it is only concluded."""


class MessageRow(Record, frozen=True):
    """One cleartext IKE header that was seen."""

    at: float
    direction: str
    """in or out."""
    exchange: str
    message_id: int
    response: bool
    size_bytes: int
    repeated: bool = False
    """A retransmission."""


class TroubleRow(Record, frozen=True):
    """The last thing that went wrong in a session."""

    at: float
    direction: str
    """in: the client said so; out: the real server did."""
    name: str
    meaning: str
    """A clause whose subject is whoever said so; empty: unknown."""


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
    handshake_s: float | None = None
    """From the client's first IKE_SA_INIT to the real server's last IKE_AUTH answer; None: not seen, or not over."""
    retransmitted_in: int = 0
    """Messages that the client sent again; `out`: that the real server did."""
    retransmitted_out: int = 0
    trouble: TroubleRow | None = None
    esp_in: list[str] = field(default_factory=list)
    """SPIs of ESP to the real server, 8 hex digits, the newest first; `out`: of ESP to the client."""
    esp_out: list[str] = field(default_factory=list)


class SessionQuery(Record, frozen=True):
    """Which sessions are asked for: all given conditions hold."""

    service: str | None = None
    server: str | None = None
    client: str | None = None
    """An address or a prefix."""
    spi: str | None = None
    """The first hex digits of either SPI."""
    phase: str | None = None
    vendor: str | None = None
    """How the client's product begins; `-`: unknown."""
    error: str | None = None
    """A part of the last error's name; `*`: any."""
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


class Snippet(Record, frozen=True):
    """Commands or settings to copy to where they belong."""

    language: str
    """powershell, swanctl (a file of strongSwan), shell or toml (the engine's configuration)."""
    where: str
    """Whose, and as whom: on rras-1, as administrator."""
    text: str


class Advice(Record, frozen=True):
    """One thing to set on a VPN server, a gateway, a client or here, or that is well as it is."""

    topic: str
    """A slug: return-path, source-limit, snat-pool, fragmentation, persistence, probe…"""
    severity: str
    """do, consider or well."""
    service: str
    server: str
    """Empty: it concerns the whole service."""
    what: str
    """What to set, or what is well, in one sentence."""
    why: str
    """What the engine saw, and what follows."""
    check: str = ""
    """How to see that it was done, or still is so."""
    snippets: list[Snippet] = field(default_factory=list)


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
    changes: list[str] = field(default_factory=list)
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
