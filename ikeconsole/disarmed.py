"""What the engine sends, as a terminal may be given it: the one place that everything shown has come through."""

from __future__ import annotations

import re
from typing import Final

from engine.legible import printable

_HARMFUL: Final = re.compile(r"\\(?:[bfr]|u00[01789])")
"""Escapes of control characters, or what looks like one behind a backslash that is a text's own."""
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_SHORT: Final = {"b": "\b", "f": "\f", "r": "\r"}
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


def disarmed(line: bytes) -> bytes:
    """A JSON document on one line without what a terminal would obey in its texts; line feeds and tabs stay.

    Names, reasons and differences may hold words of peers, servers, other users and files.
    """
    text = line.decode("utf-8", "replace")
    if text.isprintable() and not _HARMFUL.search(text):
        return line
    return _ESCAPE.sub(_without_control, printable(text)).encode()


def _without_control(found: re.Match[str]) -> str:
    escape = found[1]
    character = chr(int(escape[1:], 16)) if len(escape) > 1 else _SHORT.get(escape, "")
    # A surrogate is half of a character that another escape completes.
    harmless = character.isprintable() or character in "\n\t" or "\ud800" <= character <= "\udfff"
    return found[0] if harmless else _REPLACED
