"""The state machine that turns probe results into the health of one real server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from engine.health.result import ProbeResult

HealthWord = Literal["unknown", "up", "down"]

FLAP_WINDOW_S: Final = 300.0
MAX_FLAPS_COUNTED: Final = 100
_RTT_GAIN: Final = 1 / 8


@dataclass(frozen=True, slots=True)
class Transition:
    """A server's health changed; `after_s` is how long it had been `old`."""

    old: HealthWord
    new: HealthWord
    reason: str
    after_s: float


class ServerHealth:
    """What is believed of one real server, from what its probes found; times are the engine clock's.

    The first verdict falls at once: an engine that starts beside a dead server sends it no clients. From
    then on it takes `fall` failures in a row to go down and `rise` successes in a row to come up.
    """

    def __init__(self, fall: int, rise: int, now_s: float) -> None:
        self.fall = fall
        self.rise = rise
        self.health: HealthWord = "unknown"
        self.since_s = now_s
        self.reason = "not probed yet"
        self.busy = False
        self.rtt_s: float | None = None
        """Smoothed round-trip time; None: never measured."""
        self.last_probe_s: float | None = None
        self.up_since_s: float | None = None
        """When it came back up, for slow start; None: down, or up from the first verdict on."""
        self.probes = 0
        self.failures = 0
        self.first_fall = 1
        """Failures in a row to go down with the first verdict."""
        self.contrary_in_row = 0
        """Latest results in a row that speak against the present health."""
        self._transitions_s: deque[float] = deque(maxlen=MAX_FLAPS_COUNTED)

    def observe(self, result: ProbeResult, now_s: float) -> Transition | None:
        """Take one probe's result in; return the transition if it caused one."""
        self.last_probe_s = now_s
        self.probes += 1
        if result.inconclusive:
            self.reason = result.reason
            return None
        if result.ok:
            self.busy = result.busy
            self._smooth(result.rtt_s)
        else:
            self.failures += 1
        return self._judge("up" if result.ok else "down", result.reason, now_s)

    def trust(self) -> None:
        """Take no single failure for the first verdict: the server had tunnels a moment ago."""
        self.first_fall = self.fall

    def flaps(self, now_s: float) -> int:
        """Count the changes between up and down in the last five minutes."""
        return sum(at_s > now_s - FLAP_WINDOW_S for at_s in self._transitions_s)

    def _judge(self, verdict: HealthWord, reason: str, now_s: float) -> Transition | None:
        if verdict == self.health:
            self.contrary_in_row = 0
            self.reason = reason
            return None
        self.contrary_in_row += 1
        first = self.first_fall if verdict == "down" else 1
        needed = {"unknown": first, "up": self.fall, "down": self.rise}[self.health]
        if self.contrary_in_row < needed:
            self.reason = f"{reason} ({self.contrary_in_row} of {needed})"
            return None
        return self._change(verdict, reason, now_s)

    def _change(self, new: HealthWord, reason: str, now_s: float) -> Transition:
        transition = Transition(self.health, new, reason, after_s=now_s - self.since_s)
        if self.health != "unknown":
            self._transitions_s.append(now_s)
        self.up_since_s = now_s if (self.health, new) == ("down", "up") else None
        self.busy = self.busy and new == "up"
        self.health, self.since_s, self.reason = new, now_s, reason
        self.contrary_in_row = 0
        return transition

    def _smooth(self, rtt_s: float | None) -> None:
        if rtt_s is None:
            return
        self.rtt_s = rtt_s if self.rtt_s is None else self.rtt_s + _RTT_GAIN * (rtt_s - self.rtt_s)
