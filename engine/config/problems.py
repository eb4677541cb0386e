"""What can be wrong with a configuration, said so that it can be put right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.legible import printable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right, at one key.

    A key names services and real servers, as in `service.vpn.real_server.rras-1.weight`; one without a usable
    name is counted from 1, as in `service[2]`. For a text that is not TOML the key is LINE:COLUMN.
    """

    key: str
    message: str


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem: FILE:KEY: message, or FILE: message when the whole file is meant."""
        places = (f"{self.path}:{problem.key}" if problem.key else f"{self.path}" for problem in self.problems)
        # A file may hold anything, and its name, too: nothing of it is for a terminal or a log to obey.
        return [printable(f"{place}: {problem.message}") for place, problem in zip(places, self.problems, strict=True)]
