"""What the control socket can ask of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from engine.control.captured import Captured
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
from engine.control.status import EngineStatus, ProbeRow, Series, ServerHistory


class Refused(Exception):
    """A request that cannot be carried out; nothing was changed.

    `kind` is one of not-found, invalid, conflict, denied, failed; `details` are lines for the operator, such
    as configuration problems or a difference.
    """

    def __init__(self, kind: str, message: str, details: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details or []


class EngineApi(Protocol):
    """The engine as a control client sees it; all calls run on the engine's thread and raise `Refused`."""

    @property
    def config_path(self) -> str:
        """The configuration file."""
        ...

    def status(self) -> EngineStatus:
        """Everything at one moment."""
        ...

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """The window of the session table that a query asks for."""
        ...

    def session(self, number: int) -> SessionDetail:
        """One session."""
        ...

    def explain(self, client: str) -> list[Explanation]:
        """Why a client address is where it is, one for each service that would serve it."""
        ...

    async def advice(self, service: str, server: str) -> list[Advice]:
        """What to set on servers, gateways and clients, the most urgent first; empty names mean all."""
        ...

    def events(self, after: int, before: int, limit: int) -> list[Event]:
        """Past events numbered above `after` and below `before` (0: all), the newest `limit` of them, oldest first."""
        ...

    def subscribe(self) -> AsyncIterator[Event]:
        """New events as they happen; ends when the reader falls too far behind."""
        ...

    def capture(self, client: str, seconds: float, messages: int, author: str) -> AsyncIterator[Captured]:
        """IKE messages of a client address or prefix as they pass, for so long or so many."""
        ...

    async def set_server(
        self, service: str, server: str, *, state: str | None, weight: int | None, author: str
    ) -> Change:
        """Change a real server's admin state or weight, live and in the configuration file."""
        ...

    def preview_server(self, service: str, server: str, *, state: str | None, weight: int | None) -> Effect:
        """What `set_server` would do."""
        ...

    def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
        """How sessions and rates went; without names of the engine, every service and every real server."""
        ...

    def server_history(self, service: str, server: str) -> ServerHistory:
        """What the probes of one real server found."""
        ...

    async def probe_now(self, service: str, server: str) -> ProbeRow:
        """Probe a real server at once and wait for what it says."""
        ...

    async def clear(self, client: str, session: int | None) -> Change:
        """Forget the sessions and persistence of a client address or prefix, or one session alone."""
        ...

    async def preview_clear(self, client: str, session: int | None) -> Effect:
        """What `clear` would do."""
        ...

    async def move(self, client: str, server: str) -> Change:
        """Send a client's next packets to another real server of its service."""
        ...

    def preview_move(self, client: str, server: str) -> Effect:
        """What `move` would do."""
        ...

    def pin(self, client: str, server: str) -> Change:
        """Bind a client to a real server until it is unpinned."""
        ...

    def unpin(self, client: str) -> Change:
        """Let a pinned client be scheduled again."""
        ...

    def pins(self) -> list[PersistenceRow]:
        """Every pinned client."""
        ...

    def settings(self) -> Settings:
        """The running configuration as tables that can be edited."""
        ...

    async def plan(self, base: str, tables: dict[str, Any]) -> Plan:
        """What edited settings would change."""
        ...

    async def apply(
        self, base: str, tables: dict[str, Any], *, summary: str, author: str, unrestricted: bool = False
    ) -> Change:
        """Put edited settings in force and into the file in one step; `unrestricted`: programs to run among them."""
        ...

    async def reload(self, author: str) -> Change:
        """Read the configuration file again and apply it."""
        ...

    async def config(self) -> ConfigState:
        """The running configuration beside the file on disk."""
        ...

    async def history(self, limit: int) -> list[Revision]:
        """Saved revisions of the configuration, newest first."""
        ...

    async def preview_undo(self) -> Plan:
        """What `undo` would do."""
        ...

    async def undo(self, author: str, *, unrestricted: bool = False) -> Change:
        """Return the configuration file to the revision before the last, and apply it."""
        ...
