"""What the control socket can be asked: the parameters of every method and the record it answers with."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta

from engine.control.records import (
    Advice,
    Change,
    ConfigState,
    Effect,
    Event,
    Explanation,
    PersistenceRow,
    Plan,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
    Settings,
)
from engine.control.status import EngineStatus, Hello, ProbeRow, Series, ServerHistory

R = TypeVar("R", covariant=True)

MAX_ROWS = 1000
"""Most sessions, events or revisions in one answer."""

MAX_POINTS = 720
"""Most points of one series: an hour."""

MAX_CAPTURE_S = 86_400
MAX_CAPTURE_MESSAGES = 1_000_000

Rows = Annotated[int, Meta(ge=1, le=MAX_ROWS)]
Points = Annotated[int, Meta(ge=1, le=MAX_POINTS)]
CaptureSeconds = Annotated[float, Meta(gt=0, le=MAX_CAPTURE_S)]
CaptureMessages = Annotated[int, Meta(ge=1, le=MAX_CAPTURE_MESSAGES)]
UserName = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
"""It stands in history and log: nothing that a terminal would obey."""


class Call(msgspec.Struct, Generic[R], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of one method; an unknown one is an error, so that no condition is silently ignored."""

    method: ClassVar[str]
    result: ClassVar[Any]
    changing: ClassVar[bool] = False
    revealing: ClassVar[bool] = False
    """Whether it hands out what users send: that takes the same right as changing something."""


class SayHello(Call[Hello], frozen=True, kw_only=True):
    """The first call on a connection."""

    method = "hello"
    result = Hello
    protocol: int
    user: UserName = ""
    """On whose behalf root calls (sudo); history names it beside root."""


class GetStatus(Call[EngineStatus], frozen=True, kw_only=True):
    """Everything at one moment."""

    method = "status"
    result = EngineStatus


class ListSessions(Call[SessionPage], frozen=True, kw_only=True):
    """A window of the session table."""

    method = "sessions"
    result = SessionPage
    query: SessionQuery = SessionQuery()


class GetSession(Call[SessionDetail], frozen=True, kw_only=True):
    """One session."""

    method = "session"
    result = SessionDetail
    number: int


class Explain(Call[list[Explanation]], frozen=True, kw_only=True):
    """Why a client is where it is."""

    method = "explain"
    result = list[Explanation]
    client: str


class GetAdvice(Call[list[Advice]], frozen=True, kw_only=True):
    """What to set on servers, gateways and clients; without names for everything, else for one service or server."""

    method = "advice"
    result = list[Advice]
    service: str = ""
    server: str = ""


class ListEvents(Call[list[Event]], frozen=True, kw_only=True):
    """Past events."""

    method = "events"
    result = list[Event]
    after: int = 0
    before: int = 0
    """Only events numbered below; 0: up to the newest."""
    limit: Rows = 100


class Subscribe(Call[None], frozen=True, kw_only=True):
    """From the answer on, an `event` notification for every new event."""

    method = "subscribe"
    result = None


class Capture(Call[None], frozen=True, kw_only=True):
    """From the answer on, a `captured` notification whenever IKE messages of a client have passed."""

    # The kernel gives other people's datagrams to root alone, and the few places for captures are the operators':
    # whoever may only look could occupy them all, and try private addresses on the hashes of NAT detection.
    method = "capture"
    result = None
    revealing = True
    client: str
    """An address or a prefix."""
    seconds: CaptureSeconds = 3_600.0
    messages: CaptureMessages = 10_000
    """It ends after so long, or so many, whichever comes first."""


class SetServer(Call[Change], frozen=True, kw_only=True):
    """Change a real server's admin state or weight."""

    method = "set_server"
    result = Change
    changing = True
    service: str
    server: str
    state: str | None = None
    weight: int | None = None


class PreviewServer(Call[Effect], frozen=True, kw_only=True):
    """What `SetServer` would do."""

    method = "preview_server"
    result = Effect
    service: str
    server: str
    state: str | None = None
    weight: int | None = None


class GetSeries(Call[list[Series]], frozen=True, kw_only=True):
    """How sessions and rates went: of the engine, every service and every real server, or of one service or server."""

    method = "series"
    result = list[Series]
    points: Points = 60
    service: str | None = None
    server: str | None = None


class GetServerHistory(Call[ServerHistory], frozen=True, kw_only=True):
    """What the probes of one real server found."""

    method = "server_history"
    result = ServerHistory
    service: str
    server: str


class ProbeNow(Call[ProbeRow], frozen=True, kw_only=True):
    """Probe a real server at once and wait for what it says."""

    method = "probe_now"
    result = ProbeRow
    changing = True
    service: str
    server: str


class Clear(Call[Change], frozen=True, kw_only=True):
    """Forget a client, or one session of it."""

    method = "clear"
    result = Change
    changing = True
    client: str = ""
    session: int | None = None


class PreviewClear(Call[Effect], frozen=True, kw_only=True):
    """What `Clear` would do."""

    method = "preview_clear"
    result = Effect
    client: str = ""
    session: int | None = None


class Move(Call[Change], frozen=True, kw_only=True):
    """Send a client to another real server."""

    method = "move"
    result = Change
    changing = True
    client: str
    server: str


class PreviewMove(Call[Effect], frozen=True, kw_only=True):
    """What `Move` would do."""

    method = "preview_move"
    result = Effect
    client: str
    server: str


class Pin(Call[Change], frozen=True, kw_only=True):
    """Bind a client to a real server until it is unpinned; its sessions stay where they are."""

    method = "pin"
    result = Change
    changing = True
    client: str
    server: str


class Unpin(Call[Change], frozen=True, kw_only=True):
    """Let a pinned client be scheduled again."""

    method = "unpin"
    result = Change
    changing = True
    client: str


class ListPins(Call[list[PersistenceRow]], frozen=True, kw_only=True):
    """Every pinned client."""

    method = "pins"
    result = list[PersistenceRow]


class GetSettings(Call[Settings], frozen=True, kw_only=True):
    """The running configuration as tables that can be edited."""

    method = "settings"
    result = Settings


class MakePlan(Call[Plan], frozen=True, kw_only=True):
    """What edited settings would change; refused as a conflict when `base` is no longer in force."""

    method = "plan"
    result = Plan
    base: str
    tables: dict[str, Any]


class Apply(Call[Change], frozen=True, kw_only=True):
    """Put edited settings in force and into the file in one step; a conflict when either changed meanwhile."""

    method = "apply"
    result = Change
    changing = True
    base: str
    tables: dict[str, Any]
    summary: str = ""
    """What history says; empty: the changes themselves."""


class Reload(Call[Change], frozen=True, kw_only=True):
    """Apply the configuration file."""

    method = "reload"
    result = Change
    changing = True


class GetConfig(Call[ConfigState], frozen=True, kw_only=True):
    """The running configuration."""

    method = "config"
    result = ConfigState


class ListHistory(Call[list[Revision]], frozen=True, kw_only=True):
    """Revisions of the configuration."""

    method = "history"
    result = list[Revision]
    limit: Rows = 20


class PreviewUndo(Call[Plan], frozen=True, kw_only=True):
    """What `Undo` would do."""

    method = "preview_undo"
    result = Plan


class Undo(Call[Change], frozen=True, kw_only=True):
    """Return to the configuration before the last change."""

    method = "undo"
    result = Change
    changing = True


CALLS: dict[str, type[Call[Any]]] = {
    call.method: call
    for call in (
        GetStatus,
        ListSessions,
        GetSession,
        Explain,
        GetAdvice,
        ListEvents,
        Subscribe,
        Capture,
        SetServer,
        PreviewServer,
        GetSeries,
        GetServerHistory,
        ProbeNow,
        Clear,
        PreviewClear,
        Move,
        PreviewMove,
        Pin,
        Unpin,
        ListPins,
        GetSettings,
        MakePlan,
        Apply,
        Reload,
        GetConfig,
        ListHistory,
        PreviewUndo,
        Undo,
    )
}
"""Every method but hello, by name."""
