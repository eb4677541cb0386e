"""What the configuration was before: numbered revisions of its text in the state directory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from engine.config.save import os_remedy, replace_file
from engine.own_file import open_own

KEPT_REVISIONS = 200
_ENTRY = re.compile(r"(\d{6,9})\.json", re.ASCII)


class HistoryError(Exception):
    """The history cannot be read or written; the configuration itself is not concerned."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One text the configuration had."""

    number: int
    at: float
    """Unix time in seconds."""
    author: str
    summary: str
    text: str


class History:
    """The revisions below `state_dir`, the newest `KEPT_REVISIONS` of them."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "history"
        self.notes: tuple[str, ...] = ()
        """What had to be skipped when the history was last read."""

    def record(self, text: str, author: str, summary: str, at: float) -> Revision:
        """Add a revision, unless the newest has the same text: then that is returned.

        Raises `HistoryError` when it cannot be written.
        """
        newest = self.list(1)
        if newest and newest[0].text == text:
            return newest[0]
        numbers = self._numbers()
        number = numbers[0] + 1 if numbers else 1
        revision = Revision(number=number, at=at, author=author, summary=summary, text=text)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path(number), msgspec.json.encode(revision))
            for old in numbers[KEPT_REVISIONS - 1 :]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            raise HistoryError(f"revision {number} was not kept: {os_remedy(error, self.directory)}") from error
        return revision

    def list(self, limit: int) -> Sequence[Revision]:
        """The newest `limit` revisions, newest first; damaged ones are left out and named in `notes`.

        Raises `HistoryError` when the directory cannot be read; one that does not exist yet is empty.
        """
        self.notes = ()
        return tuple(islice(self._read_all(), limit))

    def get(self, number: int) -> Revision:
        """One revision; raises `HistoryError` when there is none of that number or it is damaged."""
        try:
            return self._read(number)
        except FileNotFoundError:
            kept = self._numbers()
            known = f"{kept[-1]} to {kept[0]} are kept" if kept else "none is kept yet"
            raise HistoryError(f"there is no revision {number}: {known}") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise HistoryError(f"revision {number} is damaged: {error}: choose another") from error

    def previous(self, text: str) -> Revision | None:
        """The newest revision that differs from `text` and is older than it, where `text` is a revision itself.

        Going back to it and recording that makes a revision too, so going back twice leads where one was.
        Raises `HistoryError` when the directory cannot be read.
        """
        self.notes = ()
        revisions = tuple(self._read_all())
        current = next((position for position, revision in enumerate(revisions) if revision.text == text), 0)
        return next((revision for revision in revisions[current:] if revision.text != text), None)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06}.json"

    def _numbers(self) -> Sequence[int]:
        """The numbers of the revisions kept, newest first."""
        try:
            names = [path.name for path in self.directory.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            remedy = f"{error.strerror or error}: run as the owner of that directory, or name another state_dir"
            raise HistoryError(f"the history in {self.directory} cannot be read: {remedy}") from error
        return sorted((int(found[1]) for name in names if (found := _ENTRY.fullmatch(name))), reverse=True)

    def _read_all(self) -> Iterator[Revision]:
        for number in self._numbers():
            try:
                yield self._read(number)
            except (OSError, msgspec.MsgspecError) as error:
                self.notes += (f"revision {number} is left out: {self._path(number)}: {error}",)

    def _read(self, number: int) -> Revision:
        with open_own(self._path(number)) as file:
            return msgspec.json.decode(file.read(), type=Revision)
