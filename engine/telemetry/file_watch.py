"""Notices that the configuration file is not what runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.config.load import digest_of, parse, read_text
from engine.config.problems import ConfigError
from engine.telemetry.alarms import Finding

LOOK_EVERY_S = 2.0
PROBLEM_CHARACTERS = 300
"""Told of a problem, whatever stands in the file: every status carries it."""

Signature = tuple[int, ...]
"""What changes with a file's content, without reading it; empty: there is no file to be seen."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What was read: a digest of the text, and the first of `problems` problems with it."""

    digest: str
    problem: str = ""
    problems: int = 0
    has_services: bool = True


class FileWatch:
    """Looks at one file every few seconds, and reads it when it has changed and stayed so until the next look."""

    def __init__(self, path: Path, running_digest: str) -> None:
        self._path = path
        self._seen = self._read_at = _signature(path)
        self._on_disk = OnDisk(running_digest)
        self._compared_with = running_digest

    async def run(self, running_digest: Callable[[], str]) -> None:
        """Go on looking, on a thread: the file may lie where it takes long to reach, or cannot be reached at all."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            await trio.to_thread.run_sync(self.look, running_digest(), abandon_on_cancel=True)

    def look(self, running_digest: str) -> None:
        """Look once, and compare with what ran just before; a file that is just being written is left alone."""
        signature = _signature(self._path)
        settled = signature == self._seen
        self._seen = signature
        if settled and signature != self._read_at:
            self._on_disk = _read(self._path)
            self._read_at = signature
        if signature == self._read_at:
            self._compared_with = running_digest

    def finding(self, running_digest: str, *, has_services: bool = False) -> Finding | None:
        """What differs from the text that runs, if anything does; `has_services`: those run, so they are missed."""
        found = self._on_disk
        # What came into force since the last look was saved or read since then too: the file is not known yet.
        if found.digest == running_digest or self._compared_with != running_digest:
            return None
        if found.problem:
            more = f" (and {found.problems - 1} more)" if found.problems > 1 else ""
            return Finding(
                "config-changed",
                f"{self._path} was changed and cannot be used: {found.problem}{more}",
                "correct it, see `ikeconsole check`, then `ikeconsole reload` (r); until then what runs goes on",
            )
        if has_services and not found.has_services:
            return Finding(
                "config-changed",
                f"{self._path} was changed and has no service any more: `ikeconsole reload` refuses it",
                "put the services back, `ikeconsole config diff` shows them; until then what runs goes on",
            )
        return Finding(
            "config-changed",
            f"{self._path} was changed and is not in force",
            "`ikeconsole config diff` shows the change, `ikeconsole reload` (r) puts it in force",
        )


def _signature(path: Path) -> Signature:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


def _read(path: Path) -> OnDisk:
    text = ""
    try:
        text = read_text(path)
        config = parse(text, path)
    except ConfigError as error:
        first = error.problems[0]
        problem = f"{first.key}: {first.message}" if first.key else first.message
        return OnDisk(digest_of(text), problem[:PROBLEM_CHARACTERS], len(error.problems))
    return OnDisk(digest_of(text), has_services=bool(config.services))
