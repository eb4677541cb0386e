"""A configuration file -> the configuration, or everything that is wrong with it."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.config.decode import decode
from engine.config.problems import ConfigError, Problem
from engine.config.schema import Config
from engine.config.validate import validate

MAX_SIZE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration and the file it came from."""

    path: Path
    text: str
    config: Config
    digest: str
    """SHA-256 of the text, in hex."""


def load(path: Path) -> Loaded:
    """The configuration in the file at `path`; raises `ConfigError` with all problems found."""
    text = read_text(path)
    return Loaded(path, text, parse(text, path), digest_of(text))


def read_text(path: Path) -> str:
    """The text of the file at `path`; raises `ConfigError` when it cannot be read."""
    try:
        if path.is_fifo():
            raise _unusable(path, "is a pipe: name a configuration file with -c")
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH:
                # It can name programs that the engine runs.
                raise _unusable(path, f"may be written by every user of this machine: chmod o-w {path}")
            content = file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        raise ConfigError(path, [Problem("", unreadable(error))]) from error
    if len(content) > MAX_SIZE_BYTES:
        raise _unusable(path, f"is larger than {MAX_SIZE_BYTES >> 20} MiB: name a configuration file with -c")
    if content.startswith(codecs.BOM_UTF8):
        raise _unusable(path, "begins with a byte-order mark: save it as UTF-8 without one")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, f"is not UTF-8 text at line {line}: save it in the encoding UTF-8") from error


def parse(text: str, path: Path) -> Config:
    """The configuration in `text`; raises `ConfigError`, which names `path`, with all problems found."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [_syntax_problem(str(error), text)]) from error
    except ValueError as error:  # Python bounds the digits of a number that it reads
        raise _unusable(path, "has a number of thousands of digits: no key takes more than eight") from error
    except RecursionError as error:
        raise _unusable(path, "nests brackets too deeply: no key needs more than two levels") from error
    return read_tables(tables, path)


def read_tables(tables: Mapping[str, object], path: Path) -> Config:
    """The configuration in TOML's tables and values, whether they stood in a text or not; raises as `parse` does."""
    problems: list[Problem] = []
    config = decode(tables, problems)
    problems += validate(config)
    if problems:
        raise ConfigError(path, problems)
    return config


def _unusable(path: Path, message: str) -> ConfigError:
    return ConfigError(path, [Problem("", message)])


def unreadable(error: OSError) -> str:
    """Why a configuration file cannot be read, and what to do."""
    match error:
        case FileNotFoundError():
            return "does not exist: name a file with -c, or write one with: ikeconsole init"
        case IsADirectoryError():
            return "is a directory: name the file in it with -c"
        case PermissionError():
            return "may not be read by this user: run as its owner, or grant the right with chmod or chown"
        case _:
            return f"cannot be read ({error.strerror or error}): see whether the disk under it is in order"


_REMEDIES = {
    "Invalid value": 'text needs quotes, as in "text"; numbers, true and false need none',
    "Expected '='": "write KEY = VALUE, or [TABLE]",
    "Expected newline or end of document": "write one KEY = VALUE a line; text needs quotes around all of it",
    "Cannot overwrite a value": "the key or table stands twice: remove one",
    "Cannot declare": "the table stands twice: remove one, or write [[...]] where several are meant",
    "Illegal character '\\n'": 'close the text with " before the line ends',
    "Unclosed array": "close the list with ]",
    "Unescaped": "write \\\\ for each backslash",
}


def _syntax_problem(message: str, text: str) -> Problem:
    """tomllib's complaint with its place as LINE:COLUMN, the line itself and a remedy."""
    lines = text.split("\n")
    complaint = message.partition(" (at ")[0]
    remedies = (remedy for start, remedy in _REMEDIES.items() if complaint.startswith(start))
    remedy = next(remedies, "correct this line")
    if place := re.search(r" \(at line (\d+), column (\d+)\)$", message):
        line, column = int(place[1]), int(place[2])
    else:
        line, column = len(lines), len(lines[-1]) + 1
        if complaint == "Invalid value":
            remedy = "the file ends in the middle of it: close the quotes or brackets"
    shown = lines[line - 1].strip()[:60] if line <= len(lines) else ""
    return Problem(f"{line}:{column}", f"{complaint}: {remedy}: {shown}")


def digest_of(text: str) -> str:
    """SHA-256 of a configuration text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
