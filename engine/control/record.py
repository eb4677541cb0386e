"""What every published record is."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A published record: immutable; clients ignore fields they do not know."""
