"""What the doctor says of one thing, and how checks say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.control.record import Record

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


class Diagnosis(Record, frozen=True):
    """One thing that was looked at."""

    group: str
    """Where it belongs: engine, privileges, kernel, fast path, network, services, real servers or files."""
    check: str
    """A slug: rp-filter, port, route, ike-probe, return-path…"""
    subject: str
    """The device, service or SERVICE/SERVER that it is about; empty: the machine."""
    state: str
    """ok, warn (it works, or nobody could look) or fail (it does not work)."""
    text: str
    """What was found, and what follows."""
    remedy: str = ""
    """What to do, in words; empty: nothing, or what `command` says."""
    command: str = ""
    """What mends it, to be copied into a root shell of this machine unless `remedy` names another."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What one check looks at; makes its diagnoses."""

    group: str
    check: str

    def ok(self, text: str, subject: str = "") -> Diagnosis:
        """Nothing is to be done."""
        return Diagnosis(group=self.group, check=self.check, subject=subject, state=OK, text=text)

    def warn(self, text: str, subject: str = "", *, remedy: str = "", command: str = "") -> Diagnosis:
        """It works, but not as well as it could, or not always."""
        return self._ill(WARN, text, subject, remedy, command)

    def fail(self, text: str, subject: str = "", *, remedy: str = "", command: str = "") -> Diagnosis:
        """Clients are hurt by it."""
        return self._ill(FAIL, text, subject, remedy, command)

    def unchecked(self, what: str, subject: str = "", *, why: str = "needs root") -> Diagnosis:
        """Nobody could look."""
        return self._ill(WARN, f"not checked: {why}: {what}", subject, "", "")

    def _ill(self, state: str, text: str, subject: str, remedy: str, command: str) -> Diagnosis:
        return Diagnosis(
            group=self.group,
            check=self.check,
            subject=subject,
            state=state,
            text=text,
            remedy=remedy,
            command=command,
        )
