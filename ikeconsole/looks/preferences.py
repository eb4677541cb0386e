"""What the console remembers of its user's choices, from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import tomli_w
from msgspec import Meta

from engine.config.save import os_remedy, replace_file
from ikeconsole.looks.themes import DEFAULT_THEME, Slug
from ikeconsole.looks.toml_files import FileProblem, UnusableFileError, read_record, user_directory


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The choices, each with its value before one was made."""

    theme: Slug = Slug(DEFAULT_THEME)
    refresh_s: Annotated[float, Meta(ge=0.2, le=60)] = 1.0


class RememberedPreferences:
    """The choices of this run, kept in a file as long as that can be written."""

    def __init__(self, directory: Path | None = None) -> None:
        self.problem: FileProblem | None = None
        """What was wrong with the file: the defaults are used instead."""
        self._told = False
        home = directory or user_directory()
        self._path = home / "console.toml" if home else None
        self.chosen = self._read()

    def choose(self, *, theme: str | None = None, refresh_s: float | None = None) -> str | None:
        """Take over what is given; a sentence the first time that it can be kept for this run only.

        Raises `msgspec.ValidationError` for a value that the file could not hold.
        """
        given = {"theme": theme, "refresh_s": refresh_s}
        changes = {name: value for name, value in given.items() if value is not None}
        values = msgspec.structs.asdict(self.chosen) | changes
        self.chosen = msgspec.convert(values, Preferences, dec_hook=lambda expected, raw: expected.read(raw))
        failure = self._write()
        if failure is None or self._told:
            return None
        self._told = True
        return f"{failure}. Until then choices hold for this run only"

    def _read(self) -> Preferences:
        try:
            if self._path:
                return read_record(self._path, Preferences)
        except FileNotFoundError:
            pass
        except UnusableFileError as error:
            self.problem = error.problem
        return Preferences()

    def _write(self) -> str | None:
        """Why the choices could not be written, and what to do."""
        if self._path is None:
            return "This user has no home to remember choices in: set XDG_CONFIG_HOME"
        directory = self._path.parent
        try:
            if _is_another_users(directory):
                return (
                    f"{self._path} is not written, as root, in another user's home: run without sudo, or with sudo -H"
                )
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, tomli_w.dumps(msgspec.to_builtins(self.chosen, enc_hook=str)).encode())
        except OSError as error:
            return f"{self._path} was not written: {os_remedy(error, directory)}"
        return None


def _is_another_users(directory: Path) -> bool:
    """Whether root would write where somebody else may have put links, or may want to write later."""
    nearest = next(parent for parent in (directory, *directory.parents) if parent.exists())
    return os.geteuid() == 0 and nearest.stat().st_uid != 0
