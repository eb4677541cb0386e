"""Answers to clients that cannot leave, because this machine has no route to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from engine.sessions.service import Service
from engine.telemetry.alarms import Finding
from engine.telemetry.rise import Rise
from engine.wording import grouped

WORTH_TELLING: Final = 100
"""Fewer may be answers to addresses that somebody made up."""
QUIET_S: Final = 10.0
_COUNTED_AS: Final = "reply-unreachable"


class NoRoute:
    """Watches what the kernel refuses to send to clients."""

    def __init__(self) -> None:
        self._rises: dict[Service, Rise] = {}

    def look(self, services: Collection[Service], now_s: float) -> None:
        """Take in the counters."""
        before, self._rises = self._rises, {}
        for service in services:
            rise = self._rises[service] = before.get(service) or Rise(0, QUIET_S)
            rise.look(service.drops[_COUNTED_AS], now_s)

    def findings(self) -> Iterator[Finding]:
        """An alarm for each service whose answers have nowhere to go."""
        for service, rise in self._rises.items():
            if rise.gained >= WORTH_TELLING:
                yield Finding(
                    "no-route-back",
                    f"{service.name}: {grouped(rise.gained)} answers found no route to their clients, who are cut off",
                    f"`ip route get CLIENT from {service.config.address}` shows which way is missing, most often "
                    "the default route; tunnels go on by themselves once it is back",
                    service.name,
                )
