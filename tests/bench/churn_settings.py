"""How long and how much of it clients come and go; the report states it."""

from __future__ import annotations

import msgspec


class ChurnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a run."""

    minutes: float = 10
    clients: int = 2_000
    sample_s: float = 10
    settle_s: float = 3
    """How long the engine is left alone before its descriptors are counted."""
    kept_files: int = 2
    """The raw sockets that speak as clients, one for each address family: made with the first flow, and kept."""
    returns_within_s: float = 45
    """After the last client: the longest timeouts add up to 35 s, and things are looked at every second or so."""
    grows_at_most_share: float = 0.02
    """Of the mean, over the second half of the run, by the straight line that fits best."""
