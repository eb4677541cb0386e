"""The session list as a file: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from engine.control.calls import MAX_ROWS, ListSessions
from engine.control.records import SessionPage, SessionQuery, SessionRow
from ikeconsole.unwritable import unwritable

SUFFIXES: Final = (".csv", ".json")
ORDER_AGE_S: Final = 600.0
"""All windows of one export come from one order, unless the engine has forgotten it."""
OVERLAP: Final = 200
"""Sessions that end move those behind them forward: each window begins so many before the end of the last one."""

Ask = Callable[[ListSessions], Awaitable[SessionPage]]
Progress = Callable[[int, int], None]
"""Is told how many sessions of how many are written."""


_COLUMNS: Final[dict[str, Callable[[SessionRow], str | int | float | bool]]] = {
    "session": lambda row: row.id,
    "service": lambda row: row.service,
    "server": lambda row: row.server,
    "client": lambda row: row.client,
    "phase": lambda row: row.phase.lower(),
    "age_s": lambda row: round(row.age_s, 3),
    "idle_s": lambda row: round(row.idle_s, 3),
    "packets_in": lambda row: row.traffic.packets_in,
    "bytes_in": lambda row: row.traffic.bytes_in,
    "packets_out": lambda row: row.traffic.packets_out,
    "bytes_out": lambda row: row.traffic.bytes_out,
    "path": lambda row: row.path,
    "why": lambda row: row.why,
    "pinned": lambda row: row.pinned,
    "spi_i": lambda row: row.spi_i,
    "spi_r": lambda row: row.spi_r,
    "vendor": lambda row: row.vendor,
    "error": lambda row: row.error,
}
"""Raw numbers, their units in the names."""


class ExportError(Exception):
    """Nothing was exported: the message says why and what to do."""


def target(name: str, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file that the operator means; raises ExportError when none can be written there."""
    if not name.strip():
        raise ExportError(f"name a file that ends in {' or '.join(suffixes)}")
    try:
        path = Path(os.path.realpath(Path(name.strip()).expanduser()))
        if path.suffix.lower() not in suffixes:
            choice = ": that chooses the format" if len(suffixes) > 1 else ""
            raise ExportError(f"end the name in {' or '.join(suffixes)}{choice}")
        if not path.parent.is_dir():
            raise ExportError(f"there is no directory {path.parent}: make it, or name another one")
        if path.exists() and not path.is_file():
            raise ExportError(f"{path} is no ordinary file: name another one")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ExportError(f"this user may not write in {path.parent}: name another directory, such as ~")
    except (RuntimeError, ValueError):
        raise ExportError("write the whole path of the file, without ~") from None
    except OSError as error:
        raise ExportError(unwritable(error, name)) from error
    return path


async def export(ask: Ask, query: SessionQuery, path: Path, progress: Progress) -> int:
    """Write every session that `query` describes; returns how many.

    The file appears whole or not at all, and only its owner may read it: it says who is connected from where.

    Raises:
        ExportError: it cannot be written.
        Refused, EngineUnreachable: the engine does not give the sessions.
    """
    with whole_file(path) as file:
        count = await _write(ask, query, path, file, progress)
        await asyncio.to_thread(to_disk, file)
    return count


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when it is whole, or leaves no trace; raises ExportError."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise ExportError(unwritable(error, path)) from error


def to_disk(file: IO[bytes]) -> None:
    """Have a file survive a power cut; raises OSError."""
    file.flush()
    os.fsync(file.fileno())


async def _write(ask: Ask, query: SessionQuery, path: Path, file: IO[bytes], progress: Progress) -> int:
    as_text = _csv if path.suffix.lower() == ".csv" else _json
    written: set[int] = set()
    done, matched = 0, 0
    while True:
        start = max(0, done - OVERLAP)
        window = msgspec.structs.replace(query, offset=start, limit=MAX_ROWS, max_age_s=ORDER_AGE_S)
        page = await ask(ListSessions(query=window))
        ended, matched = matched - page.matched, page.matched
        if ended > OVERLAP:
            done = max(0, done - ended)
            continue
        done = start + MAX_ROWS
        rows = [row for row in page.rows if row.id not in written]
        first, last = not written, done >= matched
        written.update(row.id for row in rows)
        await asyncio.to_thread(file.write, as_text(rows, first, last).encode())
        progress(len(written), max(matched, len(written)))
        if last:
            return len(written)


def _csv(rows: Sequence[SessionRow], first: bool, last: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    if first:
        writer.writerow(_COLUMNS)
    writer.writerows([cell(row) for cell in _COLUMNS.values()] for row in rows)
    return text.getvalue()


def _json(rows: Sequence[SessionRow], first: bool, last: bool) -> str:
    lines = [msgspec.json.encode({name: cell(row) for name, cell in _COLUMNS.items()}).decode() for row in rows]
    before = "[\n" if first else ",\n" if lines else ""
    return before + ",\n".join(lines) + ("\n]\n" if last else "")
