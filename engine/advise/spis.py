"""strongSwan: ranges of ESP SPIs of its own for each real server, so that an SPI alone tells the server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from engine.advise.facts import ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import swanctl
from engine.control.records import Advice
from engine.wording import count

FIRST_SPI: Final = 0xC0000000
SPIS: Final = 0x10000000
"""strongSwan's range of ESP SPIs (strongswan.conf(5), spi_min and spi_max)."""
WORTH_IT: Final = 0.05
"""Expected pairs of sessions with one SPI on two servers from which on it is worth telling."""


def spi_ranges(service: ServiceFacts) -> Iterator[Advice]:
    """One range for each strongSwan server, where chance is likely to give two sessions the same SPI."""
    servers = [server for server in service.servers if server.product is Product.STRONGSWAN]
    pairs = sum(one.sessions * other.sessions for one, other in combinations(servers, 2)) / SPIS
    if pairs < WORTH_IT:
        return
    size = SPIS // len(servers)
    yield Advice(
        topic="spi-ranges",
        severity="consider",
        service=service.name,
        server="",
        what="Give each strongSwan server a range of ESP SPIs of its own.",
        why=f"{count(sum(server.sessions for server in servers), 'session')} on {len(servers)} servers draw their SPIs "
        f"from one range: about {pairs:.2f} pairs agree by chance. The ESP of a client that moved is followed by its "
        "SPI only where one server alone has it.",
        check="`swanctl --list-sas` on each server shows inbound SPIs of its range; new tunnels have them.",
        snippets=[
            swanctl(f"in strongswan.conf on {server.name}", _range(FIRST_SPI + number * size, size))
            for number, server in enumerate(servers)
        ],
    )


def _range(first: int, size: int) -> str:
    return f"charon {{\n    spi_min = 0x{first:08x}\n    spi_max = 0x{first + size - 1:08x}\n}}"
