"""How much of everything the fast path's part of the bench does; the report states it."""

from __future__ import annotations

import msgspec


class FastPathSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a full run."""

    rounds: int = 5
    clients: tuple[int, ...] = (1, 1_000, 100_000)
    sizes_bytes: tuple[int, ...] = (200, 1_400)
    """Of the UDP payload."""
    warm_up_s: float = 0.3
    duration_s: float = 1
    growth_flows: tuple[int, ...] = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
    growth_size_bytes: int = 200
    flood_clients: int = 1_000
    flood_per_s: tuple[int, ...] = (20_000, 100_000)
    flood_size_bytes: int = 200
    delay_clients: int = 200
    delay_rate_per_s: int = 500
    delay_size_bytes: int = 200
    delay_s: float = 6


QUICK = FastPathSettings(
    rounds=1,
    clients=(1, 1_000),
    warm_up_s=0.2,
    duration_s=0.3,
    growth_flows=(1, 1_000, 100_000),
    delay_s=1,
)
