"""Which real servers get data of tunnels and send none back, though their probes are answered."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.telemetry.alarms import Finding
from engine.wording import grouped

WINDOW_S: Final = 10.0
WORTH_TELLING: Final = 100
"""Packets of clients in one window; fewer may be what one client sends that waits for nothing."""
STILL_WORTH_TELLING: Final = 25
"""The same once it was told: who waits for answers sends less and less."""
ANSWERED_AT_LEAST: Final = 0.02
"""Part of the packets: less is IKE, which is answered all the same."""


@dataclass(slots=True)
class _Window:
    began_s: float
    packets_in: int
    packets_out: int
    unanswered: int = 0
    """Packets of clients in the window before, if it was one of silence."""


class OneWay:
    """Looks at what passed each real server, window by window."""

    def __init__(self) -> None:
        self._windows: dict[RealServer, _Window] = {}

    def look(self, services: Collection[Service], now_s: float) -> None:
        """Take in how the counters stand."""
        before, self._windows = self._windows, {}
        for server in (server for service in services for server in service.servers.values()):
            window = before.get(server)
            if window is None or now_s - window.began_s >= WINDOW_S:
                unanswered = _unanswered(window, server) if window else 0
                window = _Window(now_s, server.packets_in, server.packets_out, unanswered)
            self._windows[server] = window

    def findings(self, services: Collection[Service]) -> Iterator[Finding]:
        """An alarm for each server that sends nothing; one that is down has its own."""
        for service in services:
            for server in service.servers.values():
                window = self._windows.get(server)
                if window is None or not window.unanswered or server.health.health == "down":
                    continue
                name = f"{service.name}/{server.name}"
                yield Finding(
                    "no-data-back",
                    f"{name} sends nothing back: {grouped(window.unanswered)} packets of tunnels went there in "
                    f"{WINDOW_S:.0f} s; its clients are connected and reach nothing",
                    f"see that its firewall lets UDP {' and '.join(map(str, dict.fromkeys(server.ports)))} in and out "
                    f"and that it forwards; `ikeconsole drain {name}` keeps new clients away meanwhile",
                    service.name,
                    server.name,
                )


def _unanswered(window: _Window, server: RealServer) -> int:
    came, went = server.packets_in - window.packets_in, server.packets_out - window.packets_out
    enough = STILL_WORTH_TELLING if window.unanswered else WORTH_TELLING
    silent = server.established and came >= enough and went < came * ANSWERED_AT_LEAST
    return came if silent else 0
