"""What the control socket can be asked: the parameters of every method and the record it answers with."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta

from engine.control.records import (
    Change,
    ConfigState,
    EngineStatus,
    Event,
    Explanation,
    Hello,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
)

R = TypeVar("R", covariant=True)

MAX_ROWS = 1000
"""Most sessions, events or revisions in one answer."""

Rows = Annotated[int, Meta(ge=1, le=MAX_ROWS)]


class Call(msgspec.Struct, Generic[R], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of one method; an unknown one is an error, so that no condition is silently ignored."""

    method: ClassVar[str]
    result: ClassVar[Any]
    changing: ClassVar[bool] = False


class SayHello(Call[Hello], frozen=True, kw_only=True):
    """The first call on a connection."""

    method = "hello"
    result = Hello
    protocol: int
    user: str = ""
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


class ListEvents(Call[list[Event]], frozen=True, kw_only=True):
    """Past events."""

    method = "events"
    result = list[Event]
    after: int = 0
    limit: Rows = 100


class Subscribe(Call[None], frozen=True, kw_only=True):
    """From the answer on, an `event` notification for every new event."""

    method = "subscribe"
    result = None


class SetServer(Call[Change], frozen=True, kw_only=True):
    """Change a real server's admin state or weight."""

    method = "set_server"
    result = Change
    changing = True
    service: str
    server: str
    state: str | None = None
    weight: int | None = None


class Clear(Call[Change], frozen=True, kw_only=True):
    """Forget a client."""

    method = "clear"
    result = Change
    changing = True
    client: str


class Move(Call[Change], frozen=True, kw_only=True):
    """Send a client to another real server."""

    method = "move"
    result = Change
    changing = True
    client: str
    server: str


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
        ListEvents,
        Subscribe,
        SetServer,
        Clear,
        Move,
        Reload,
        GetConfig,
        ListHistory,
        Undo,
    )
}
"""Every method but hello, by name."""
