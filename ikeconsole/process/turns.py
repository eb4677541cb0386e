"""How the threads of one process take turns when an engine shares it with something that draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SWITCH_INTERVAL_S: Final = 1e-4
"""How long a thread may keep others waiting for the interpreter; Python's default is 5 ms."""


@contextmanager
def quick_turns() -> Iterator[None]:
    """Have the threads take turns often enough that drawing a page delays no datagram noticeably."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
