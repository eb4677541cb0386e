"""The records of `layout.h` as Python reads and writes them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

TICK_SHIFT: Final = 20
TICK_S: Final = (1 << TICK_SHIFT) / 1e9
NO_VLAN: Final = 0xFFFF
MAX_PORTS: Final = 256
MAX_TOTALS: Final = 8192

ACCOUNT: Final = Struct("=QII4sI")
"""bytes, packets, last_used, esp_spi, total"""
HOP: Final = Struct("=6s6sIHHHH")
"""destination, source, epoch, port, vlan, mtu_bytes, reserved"""
EGRESS: Final = Struct("=HH")
"""port, vlan"""
TOTAL: Final = Struct("=QQ")
"""packets, bytes"""
CONTROL: Final = Struct("=I")
"""generation"""

_NUMBER = Struct("=I")
_UNKNOWN_HOP = bytes(HOP.size)
_NO_SPI = bytes(4)


class Reason(IntEnum):
    """Why the program passed a packet up, or dropped it."""

    NONE = 0
    NOT_IP = 1
    NOT_UDP = 2
    OPTIONS = 3
    FRAGMENT = 4
    MALFORMED = 5
    MISS = 6
    IKE = 7
    TTL = 8
    OVERSIZE = 9
    NO_ROUTE = 10
    NO_NEIGHBOUR = 11
    NO_FORWARDING = 12
    NO_PORT = 13
    NO_HEADROOM = 14
    PORT_GONE = 15

    @property
    def slug(self) -> str:
        """The reason as counters are named."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class FlowLayout:
    """The sizes of one address family's flows, and where counters stand in a value, in 4-byte words."""

    key_bytes: int

    @property
    def value_bytes(self) -> int:
        """Size of a value."""
        return ACCOUNT.size + HOP.size + self.key_bytes + _NUMBER.size

    @property
    def value_words(self) -> int:
        """Size of a value in 4-byte words."""
        return self.value_bytes // 4


FLOW_V4: Final = FlowLayout(key_bytes=12)
FLOW_V6: Final = FlowLayout(key_bytes=36)

PACKETS_WORD: Final = 2
LAST_USED_WORD: Final = 3
ESP_SPI_WORD: Final = 4


def flow_value(becomes: bytes, number: int, total: int, now: int) -> bytes:
    """The value of a flow that has not carried anything yet; `now` in ticks."""
    return ACCOUNT.pack(0, 0, now, _NO_SPI, total) + _UNKNOWN_HOP + becomes + _NUMBER.pack(number)


def tick_now() -> int:
    """The moment in ticks, as the program stamps flows with it (within a few milliseconds: its clock is coarse)."""
    return (time.monotonic_ns() >> TICK_SHIFT) & 0xFFFFFFFF


def age_s(last_used: int, now: int) -> float:
    """Seconds between two moments in ticks; 0 for a moment that is still to come."""
    ticks = (now - last_used) & 0xFFFFFFFF
    return ticks * TICK_S if ticks < 1 << 31 else 0.0
