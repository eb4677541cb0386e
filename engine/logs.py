"""The log: one line an entry on stderr, with priorities where journald reads them, or in a file."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import cast

from engine.legible import legible

LOG_FILE_BYTES = 4_000_000
"""A full file is kept beside the new one, until that is full too."""

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class EntryFormatter(logging.Formatter):
    """Keeps an entry apart from the next, whatever is in it: lines after its first are indented, nothing is obeyed."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one entry."""
        return legible(super().format(record)).replace("\n", "\n\t")


class JournalFormatter(EntryFormatter):
    """Prefixes a line with its syslog priority (sd-daemon(3)); journald knows time and program itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one entry."""
        return f"<{_PRIORITIES.get(record.levelno, 5)}>{super().format(record)}"


class LogFile(RotatingFileHandler):
    """A log file of bounded size, which takes in what is written to standard error too once told to."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        super().__init__(path, maxBytes=LOG_FILE_BYTES, backupCount=1, encoding="utf-8")
        self.path = path
        self._takes_stderr = False

    def _open(self) -> TextIOWrapper:
        """Who is connected from where is nobody else's business."""

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | os.O_NOFOLLOW, 0o600)

        return cast(TextIOWrapper, open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener))

    def take_stderr(self) -> None:
        """Have standard error, of this process and of those it starts, end up in the file."""
        self._takes_stderr = True
        if self.stream is not None:
            os.dup2(self.stream.fileno(), 2)

    def doRollover(self) -> None:
        """Begin a new file."""
        super().doRollover()
        if self._takes_stderr:
            self.take_stderr()


def open_log_file(path: Path) -> LogFile:
    """The log file at a path, or where that cannot be written, one of the same name in a temporary directory."""
    try:
        return LogFile(path)
    except OSError:
        return LogFile(Path(tempfile.mkdtemp(prefix="ikeconsole-"), path.name))


def set_up_logging(level: str, log_file: LogFile | None = None) -> None:
    """Send the log to stderr, or to a file, at a level named debug, info, warning or error."""
    handler = log_file or logging.StreamHandler(sys.stderr)
    if log_file is None and os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(EntryFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    # Out of files, it would write ten tracebacks a second, about which an alarm says all there is to say.
    logging.getLogger("trio.serve_listeners").setLevel(logging.CRITICAL)
    set_log_level(level)


def set_log_level(level: str) -> None:
    """Log entries of this level and above: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())
