"""The clients' flows, as packets have them where they are made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from random import Random
from struct import Struct

from ..testbed import FIRST_CLIENT

NAT_T_PORT = 4500
TUPLE = Struct("=4s4s2s2s4s")
"""source, destination, source port, destination port, SPI of its ESP; in network byte order"""
FIRST_SPI = 0xC000_0000
"""The first client's, whose tunnel it is since it was set up: `generator.c` has the same."""


class Direction(Enum):
    """Which way packets go."""

    TO_SERVER = "client to server"
    TO_CLIENT = "server to client"


@dataclass(frozen=True, slots=True)
class Flows:
    """The tuples of as many flows in one direction, in the order in which packets are made."""

    count: int
    packed: bytes


def client_flows(count: int, *destinations: str) -> Flows:
    """The first clients' flows to addresses in turn; neighbours in the order of making are none in address."""
    first = int(IPv4Address(FIRST_CLIENT))
    numbers = list(range(count))
    Random(count).shuffle(numbers)
    to, port = [IPv4Address(address).packed for address in destinations], NAT_T_PORT.to_bytes(2, "big")
    packed = b"".join(
        TUPLE.pack((first + n).to_bytes(4, "big"), to[n % len(to)], port, port, (FIRST_SPI + n).to_bytes(4, "big"))
        for n in numbers
    )
    return Flows(count, packed)
