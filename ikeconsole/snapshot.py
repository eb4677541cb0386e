"""What the console knows at one moment; every screen draws from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.control.status import EngineStatus, Hello, Series, ServerStatus, ServiceStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The engine's latest answers."""

    hello: Hello
    status: EngineStatus
    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    """By service and server; ("", "") is the whole engine."""

    @property
    def run(self) -> tuple[str, int, float]:
        """Which run of which engine answered: another one numbers its sessions and events anew."""
        return self.status.host, self.status.pid, self.status.started_at

    def service(self, name: str) -> ServiceStatus | None:
        """The service of a name, if there still is one."""
        return next((service for service in self.status.services if service.name == name), None)

    def server(self, service: str, name: str) -> ServerStatus | None:
        """The real server of a name, if there still is one."""
        found = self.service(service)
        return next((server for server in found.servers if server.name == name), None) if found else None
