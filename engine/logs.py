"""The log: one line an entry on stderr, with priorities where journald reads them."""

from __future__ import annotations

import logging
import os
import sys

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalFormatter(logging.Formatter):
    """Prefixes a line with its syslog priority (sd-daemon(3)); journald knows time and program itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one entry."""
        text = super().format(record).replace("\n", "\n\t")
        return f"<{_PRIORITIES.get(record.levelno, 5)}>{text}"


def set_up_logging(level: str) -> None:
    """Send the log to stderr at a level named debug, info, warning or error."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    set_log_level(level)


def set_log_level(level: str) -> None:
    """Log entries of this level and above: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())
