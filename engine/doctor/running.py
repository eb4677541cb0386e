"""The engine that runs, if one does, and how it fits what is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.control.status import EngineStatus
from engine.doctor.diagnosis import Diagnosis, Topic

_TOPIC: Final = Topic("engine", "running")


@dataclass(frozen=True, slots=True)
class Engine:
    """What asking on the control socket came to."""

    status: EngineStatus | None = None
    denied: str = ""
    """Why this user may not ask one that runs; empty: it answered, or none runs."""

    @property
    def config_path(self) -> Path | None:
        """The file of the engine that answered."""
        if self.status is None:
            return None
        try:
            return Path(os.readlink(f"/proc/{self.status.pid}/cwd"), self.status.config_path)
        except OSError:
            return Path(self.status.config_path)

    @property
    def pid(self) -> int | None:
        """Of the engine that answered."""
        return self.status.pid if self.status else None

    @property
    def covered(self) -> frozenset[str]:
        """The addresses of real servers whose answers to clients it brings back."""
        services = self.status.services if self.status else []
        return frozenset(
            server.address for service in services if service.source == "transparent" for server in service.servers
        )


def judge_engine(engine: Engine, config_path: Path) -> Iterator[Diagnosis]:
    """Whether one runs, with the configuration that is looked at."""
    status = engine.status
    if engine.denied:
        yield _TOPIC.unchecked("what the engine does", why=engine.denied)
    elif status is None:
        yield _TOPIC.ok(f"no engine runs; looked at what one with {config_path} would find")
    elif engine.config_path != config_path.absolute():
        yield _TOPIC.warn(
            f"it runs with {engine.config_path} (pid {status.pid}), but {config_path} is looked at",
            remedy="name the file that it runs with",
            command=f"ikeconsole doctor -c {engine.config_path}",
        )
    elif drift := next((alarm for alarm in status.alarms if alarm.kind == "config-changed"), None):
        yield _TOPIC.warn(f"runs, pid {status.pid}: {drift.text}", remedy=drift.remedy)
    else:
        yield _TOPIC.ok(f"runs with {config_path}, pid {status.pid}, version {status.version}")
