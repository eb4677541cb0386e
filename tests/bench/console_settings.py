"""How much of everything the console's part of the bench does; the report states it."""

from __future__ import annotations

import msgspec


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a full run."""

    first_paints: int = 5
    rest_s: float = 20
    sessions: int = 100_000
    scrolls: int = 20
    """Presses of the keys that go on by a row and by a page."""
    jumps: int = 5
    """Presses of the keys that go to the last row and to the first."""
    sort_rounds: int = 2
    """How often every order is asked for."""
    rounds: int = 3
    clients: int = 200
    rate_per_s: int = 500
    size_bytes: int = 200
    delay_s: float = 4


QUICK = ConsoleSettings(
    first_paints=1, rest_s=3, sessions=10_000, scrolls=3, jumps=1, sort_rounds=1, rounds=1, delay_s=1
)
