"""A fake engine whose real servers change while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fake_engine import STATUS, FakeEngine

from engine.control.api import Refused
from engine.control.records import Change
from engine.control.status import EngineStatus, Series, ServerHistory, ServerStatus


class ChangingEngine(FakeEngine):
    """Does to its servers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now: EngineStatus = STATUS

    def status(self) -> EngineStatus:
        super().status()
        return self.now

    async def set_server(
        self, service: str, server: str, *, state: str | None, weight: int | None, author: str
    ) -> Change:
        change = await super().set_server(service, server, state=state, weight=weight, author=author)
        if state is not None:
            self.change(service, server, admin_state=state)
        if weight is not None:
            self.change(service, server, weight=weight)
        return change

    def server_history(self, service: str, server: str) -> ServerHistory:
        self._require_server(service, server)
        return super().server_history(service, server)

    def series(self, points: int, service: str | None, server: str | None) -> list[Series]:
        if service is not None and server is not None:
            self._require_server(service, server)
        return super().series(points, service, server)

    def change(self, service: str, server: str, **values: Any) -> None:
        """Give a real server other values."""
        self._replace(service, lambda one: msgspec.structs.replace(one, **values) if one.name == server else one)

    def remove(self, service: str, server: str) -> None:
        """Take a real server out of the configuration."""
        self._replace(service, lambda one: None if one.name == server else one)

    def pass_time(self, seconds: float) -> None:
        """Let the engine's clock go on."""
        self.now = msgspec.structs.replace(self.now, now_at=self.now.now_at + seconds)

    def _replace(self, service: str, change: Callable[[ServerStatus], ServerStatus | None]) -> None:
        services = [
            msgspec.structs.replace(one, servers=[new for old in one.servers if (new := change(old)) is not None])
            if one.name == service
            else one
            for one in self.now.services
        ]
        self.now = msgspec.structs.replace(self.now, services=services)

    def _require_server(self, service: str, server: str) -> None:
        known: list[ServerStatus] = [one for each in self.now.services for one in each.servers]
        if (service, server) not in {(one.service, one.name) for one in known}:
            raise Refused("not-found", f"there is no real server {service}/{server}")
