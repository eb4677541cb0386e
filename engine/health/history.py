"""What the probes of one real server found lately, for those who ask afterwards."""

from __future__ import annotations

from collections import deque
from typing import Final

from engine.health.result import ProbeResult
from engine.health.state import Transition

PROBES_KEPT: Final = 200
CHANGES_KEPT: Final = 100


class ProbeHistory:
    """The latest results and changes of health, each with its time by the engine's clock; bounded."""

    __slots__ = ("changes", "probes")

    def __init__(self) -> None:
        self.probes: deque[tuple[float, ProbeResult]] = deque(maxlen=PROBES_KEPT)
        self.changes: deque[tuple[float, Transition]] = deque(maxlen=CHANGES_KEPT)
