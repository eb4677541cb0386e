"""The records of `layout.h` as Python reads and writes them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

PROBES: Final = 16
TICK_SHIFT: Final = 28
TICK_S: Final = (1 << TICK_SHIFT) / 1e9
NO_VLAN: Final = 0xFFFF
MAX_PORTS: Final = 256
MAX_EGRESSES: Final = 4352
MAX_TOTALS: Final = 8192
MAX_SERVICES: Final = 512

TRACK: Final = Struct("=6s6sHHHBBHHI4sQ")
"""destination, source, epoch, vlan, mtu_bytes, port, state, total, last_used, packets, esp_spi, bytes"""
EGRESS: Final = Struct("=HH")
"""port, vlan"""
TOTAL: Final = Struct("=QQ")
"""packets, bytes"""
CONTROL: Final = Struct("=QQIII4x")
"""seeds, mask_v4, mask_v6, generation"""
SERVICE_END: Final = Struct("=16s2s2x")
"""address, port"""
SHIELD: Final = Struct("=16s16sHBB4x")
"""current and previous key, place, key_number, flags"""

_TICKS = 0xFFFF


class State(IntEnum):
    """What a slot of a table of flows is."""

    EMPTY = 0
    LIVE = 1
    GONE = 2


class Reason(IntEnum):
    """Why the program passed a packet up, or dropped it."""

    NONE = 0
    NOT_IP = 1
    MULTICAST = 2
    NOT_UDP = 3
    OPTIONS = 4
    FRAGMENT = 5
    MALFORMED = 6
    MISS = 7
    IKE = 8
    TTL = 9
    OVERSIZE = 10
    NO_ROUTE = 11
    NO_NEIGHBOUR = 12
    NO_FORWARDING = 13
    NO_PORT = 14
    NO_HEADROOM = 15
    PORT_GONE = 16
    SHIELDED = 17
    CHALLENGED = 18

    @property
    def slug(self) -> str:
        """The reason as counters are named."""
        return slug(self.name)


KEPT_OFF: Final = (Reason.SHIELDED, Reason.CHALLENGED)
"""The packet came no further, for its service's sake."""


class Outcome(IntEnum):
    """Why a packet was kept from its service, or answered in its place."""

    RUNT = 0
    IKE_V1 = 1
    IKE_VERSION = 2
    ZERO_SPI = 3
    BAD_LENGTH = 4
    TRUNCATED = 5
    IMPOSSIBLE_SOURCE = 6
    UNKNOWN_SPI_LIMIT = 7
    IMPLAUSIBLE_INIT = 8
    FOREIGN_COOKIE_LIMIT = 9
    COOKIE_REFUSED = 10
    CHALLENGED = 11

    @property
    def slug(self) -> str:
        """The outcome as a service's drops are named, on the slow path as well."""
        return slug(self.name)


class ShieldFlag(IntFlag):
    """What protects one end of a service."""

    NAT_T = 1
    CHALLENGES = 2
    ANSWERS = 4
    LIMITS = 8


TALLY: Final = Struct(f"=16x{len(Outcome)}Q")
"""The counts by outcome, after what the limits need."""


def slug(name: str) -> str:
    """A name as counters are named."""
    return name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, eq=False)
class FlowLayout:
    """The sizes of one address family's flows; a flow ends with its track."""

    tuple_bytes: int
    flow_bytes: int
    record: Struct
    """comes, becomes, state, total, last_used; all else is zero."""

    @property
    def track_at(self) -> int:
        """Where the track begins."""
        return self.flow_bytes - TRACK.size


FLOW_V4: Final = FlowLayout(tuple_bytes=12, flow_bytes=64, record=Struct("=12s12s19xBHH16x"))
FLOW_V6: Final = FlowLayout(tuple_bytes=36, flow_bytes=128, record=Struct("=36s36s16x19xBHH16x"))

# Where the parts of a track that are read one by one begin.
STATE_AT: Final = 19
TOTAL_AT: Final = 20
LAST_USED_AT: Final = 22
PACKETS_AT: Final = 24
ESP_SPI_AT: Final = 28
BYTES_AT: Final = 32


def tick_now() -> int:
    """The moment in ticks, as the program stamps flows with it."""
    return (time.monotonic_ns() >> TICK_SHIFT) & _TICKS


def age_s(last_used: int, now: int) -> float:
    """Seconds between two moments in ticks, at most some hours; 0 for a moment that is still to come."""
    ticks = (now - last_used) & _TICKS
    return ticks * TICK_S if ticks <= _TICKS >> 1 else 0.0
