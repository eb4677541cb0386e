"""Small TOML files of the console's users -> records, or the one thing to put right first."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, Self, TypeVar, runtime_checkable

import msgspec

MAX_SIZE_BYTES = 64 * 1024

Record = TypeVar("Record", bound=msgspec.Struct)


@runtime_checkable
class Readable(Protocol):
    """A type of value that a file spells as text or number, beyond what TOML knows."""

    @classmethod
    def read(cls, raw: object) -> Self:
        """The value spelled `raw`; raises `ValueError` saying what to write."""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong with a file, at which key, and what to do; as text one line."""

    path: Path
    key: str
    """The key in the file, LINE:COLUMN where the text is not TOML, or empty: the whole file."""
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.key}" if self.key else str(self.path)
        line = f"{place}: {self.message}"
        return line if line.isprintable() else ascii(line)[1:-1]  # names of files and keys may hold anything


class UnusableFileError(Exception):
    """A file that is not used, with the problem that keeps it from being used."""

    def __init__(self, path: Path, key: str, message: str) -> None:
        self.problem = FileProblem(path, key, message)
        super().__init__(str(self.problem))


def user_directory() -> Path | None:
    """The directory of this user's own console files; None when the user has no home."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(configured):  # the XDG specification wants a relative one ignored
        return Path(configured, "ikeconsole")
    try:
        return Path.home() / ".config" / "ikeconsole"
    except RuntimeError:
        return None


def read_record(path: Path, schema: type[Record]) -> Record:
    """The record in the file at `path`.

    Raises `FileNotFoundError` when there is no such file, `UnusableFileError` for everything else.
    """
    try:
        tables = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        complaint, _, place = str(error).partition(" (at ")
        line = ":".join(re.findall(r"\d+", place))
        remedy = "correct this line" if line else "complete its last line"
        raise UnusableFileError(path, line, f"is not TOML: {complaint}: {remedy}") from error
    except (ValueError, RecursionError) as error:  # digits and brackets by the thousand
        raise UnusableFileError(path, "", "is not a file of settings: remove it, or write it anew") from error
    try:
        return msgspec.convert(tables, schema, dec_hook=_read_value)
    except msgspec.ValidationError as error:
        raise UnusableFileError(path, *_explain(str(error), schema)) from error


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnusableFileError(path, "", "is no ordinary file: remove it, or put a file in its place")
            content = file.read(MAX_SIZE_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnusableFileError(path, "", os_remedy(error)) from error
    if len(content) > MAX_SIZE_BYTES:
        raise UnusableFileError(path, "", f"is larger than {MAX_SIZE_BYTES >> 10} KiB: shorten it, or remove it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnusableFileError(path, "", f"is not UTF-8 at line {line}: save it in the encoding UTF-8") from error


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe as well, for which nobody would answer."""
    return os.open(path, flags | os.O_NONBLOCK)


def os_remedy(error: OSError) -> str:
    """Why a file or directory could not be read, and what to do."""
    match error:
        case PermissionError():
            return "may not be read by this user: grant the right with chmod or chown, or remove it"
        case IsADirectoryError():
            return "is a directory: remove it, or put a file in its place"
        case NotADirectoryError():
            return "is not a directory: make it one, or remove it"
        case _:
            return f"cannot be read: {error.strerror or error}: put that right, or remove it"


def _read_value(expected: type, raw: object) -> object:
    """msgspec's hook for the types it does not know."""
    if isinstance(expected, Readable):
        return expected.read(raw)
    raise NotImplementedError(expected)


_WORDS = {"bool": "true or false", "str": "text in quotes", "float": "a number", "int": "a number", "object": "a table"}


def _explain(complaint: str, schema: type[msgspec.Struct]) -> tuple[str, str]:
    """The key that msgspec complains of, and the complaint in words that say what to write."""
    complaint, _, place = complaint.partition(" - at `$.")
    key = place.rstrip("`")
    if unknown := re.fullmatch(r"(?s)Object contains unknown field `(.*)`", complaint):
        known = _tables(schema).get(key, [])
        close = get_close_matches(unknown[1], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"remove it, or write one of {', '.join(known)}"
        return _join(key, unknown[1][:40]), f"is no key here: {remedy}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", complaint):
        return _join(key, missing[1]), "is missing: write it"
    if expected := re.fullmatch(r"Expected `(\w+)(?: \| null)?`( [<>]= \S+)?.*", complaint):
        return key, f"must be {_WORDS.get(expected[1], expected[1])}{expected[2] or ''}"
    return key, complaint


def _tables(schema: type[msgspec.Struct]) -> dict[str, list[str]]:
    """The keys of a file's top and of each table in it."""
    tables: dict[str, list[str]] = {"": []}
    for field in msgspec.structs.fields(schema):
        tables[""].append(field.encode_name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            tables[field.encode_name] = [inner.encode_name for inner in msgspec.structs.fields(field.type)]
    return tables


def _join(table: str, name: str) -> str:
    return f"{table}.{name}" if table else name
