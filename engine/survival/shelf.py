"""Puts files aside that cannot be used, so that somebody can look at them: a bounded number."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

KEPT: Final = 5


def set_aside(path: Path) -> Path:
    """Rename a file to PATH.unusable-N, and remove the oldest of too many such; its name now. Raises OSError."""
    shelved = _shelved(path)
    number = max(shelved, default=0) + 1
    aside = path.with_name(f"{path.name}.unusable-{number}")
    path.rename(aside)
    for old in sorted(shelved)[: max(0, len(shelved) + 1 - KEPT)]:
        with suppress(OSError):
            shelved[old].unlink()
    return aside


def _shelved(path: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(path.name) + r"\.unusable-([0-9]{1,9})")
    found = ((pattern.fullmatch(one.name), one) for one in path.parent.iterdir())
    return {int(match[1]): one for match, one in found if match}
