"""Which alarms stand, since when, and what is told when they begin and end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.control.status import Alarm
from engine.events import EventLog
from engine.wording import spelled_span

Key = tuple[str, str, str]
"""Kind, service and real server."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What all alarms of a kind have in common."""

    severity: str
    place: str
    has_events: bool = False
    """Others tell as an event that it begins and ends."""


KINDS = {
    "address-gone": Kind("error", "events"),
    "device-down": Kind("error", "events"),
    "no-server": Kind("error", "service", has_events=True),
    "servers-full": Kind("error", "service"),
    "server-down": Kind("error", "server", has_events=True),
    "return-path-gone": Kind("error", "events"),
    "out-of-files": Kind("error", "sessions"),
    "no-route-back": Kind("error", "service"),
    "no-replies": Kind("error", "server"),
    "no-data-back": Kind("error", "server"),
    "strange-replies": Kind("error", "service"),
    "ports-split": Kind("error", "sessions"),
    "spi-split": Kind("error", "sessions"),
    "flood": Kind("warning", "service"),
    "table-near-full": Kind("warning", "sessions"),
    "receive-buffer-full": Kind("warning", "service"),
    "return-path-contested": Kind("warning", "events"),
    "sockets-near-limit": Kind("warning", "sessions"),
    "server-flapping": Kind("warning", "server"),
    "snat-crowded": Kind("warning", "server"),
    "fragments-lost": Kind("warning", "sessions"),
    "auth-fragmented": Kind("warning", "sessions"),
    "esp-before-ike": Kind("warning", "sessions"),
    "idle-too-short": Kind("warning", "service"),
    "timeouts-contradict": Kind("warning", "service"),
    "sessions-unsaved": Kind("warning", "events", has_events=True),
    "config-changed": Kind("warning", "configuration"),
}
"""The gravest first."""

_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds now; `since_s` on the engine's clock, None: since it was found first."""

    kind: str
    text: str
    remedy: str
    service: str = ""
    server: str = ""
    since_s: float | None = None

    @property
    def key(self) -> Key:
        """What makes it the same alarm as one found before, however its words change."""
        return self.kind, self.service, self.server


class AlarmBoard:
    """The alarms that stand."""

    def __init__(self, events: EventLog) -> None:
        self.alarms: list[Alarm] = []
        """The gravest first, then in the order in which they were found."""
        self._events = events
        self._standing: dict[Key, Alarm] = {}
        self._since_s: dict[Key, float] = {}
        """On the engine's clock: the other one may be set right while an alarm stands."""

    def stands(self, kind: str, service: str = "", server: str = "") -> bool:
        """Whether an alarm has been raised: its condition may then ask less to hold on than it asked to begin."""
        return (kind, service, server) in self._standing

    def post(self, findings: Iterable[Finding], now_s: float, now_at: float) -> None:
        """Let the alarms be what was found; `now_at` is the Unix time."""
        # All of them first: what is found may depend on what stands.
        found = list(findings)
        before, self._standing = self._standing, {}
        known_since_s, self._since_s = self._since_s, {}
        for finding in found:
            kind, known = KINDS[finding.kind], before.get(finding.key)
            since_s = known_since_s.get(finding.key, now_s) if finding.since_s is None else finding.since_s
            self._since_s[finding.key] = since_s
            since_at = now_at - (now_s - since_s)
            if known and abs(since_at - known.since_at) < 1:
                # The two clocks are never read at one instant.
                since_at = known.since_at
            self._standing[finding.key] = Alarm(
                kind=finding.kind,
                severity=kind.severity,
                since_at=since_at,
                text=finding.text,
                remedy=finding.remedy,
                place=kind.place,
                service=finding.service,
                server=finding.server,
            )
        self.alarms = sorted(self._standing.values(), key=lambda alarm: _RANKS[alarm.kind])
        for key, alarm in self._standing.items():
            if key not in before:
                self._tell(alarm.severity, alarm.kind, f"{alarm.text}; {alarm.remedy}", alarm)
        for key, alarm in before.items():
            if key not in self._standing:
                lasted = spelled_span(now_s - known_since_s[key])
                self._tell("notice", f"{alarm.kind}-over", f"over after {lasted}: {alarm.text}", alarm)

    def _tell(self, severity: str, kind: str, text: str, alarm: Alarm) -> None:
        if not KINDS[alarm.kind].has_events:
            self._events.add(severity, kind, text, service=alarm.service, server=alarm.server)
