"""Filtering and sorting the session table, in slices so that the forwarder keeps its turn."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, TypeVar

from engine.sessions.session import Phase, Session

SLICE = 1_000
SORTS = ("age", "idle", "client", "server", "service", "phase", "packets_in", "packets_out", "bytes_in", "bytes_out")


Thing = TypeVar("Thing")


class BadQuery(ValueError):
    """A query that makes no sense; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What passed for one session."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int


def totals(session: Session) -> Totals:
    """Packets and bytes of a session: of ended flows, and of those whose ESP is taken to be its."""
    packets_in, bytes_in = session.ended_packets_in, session.ended_bytes_in
    packets_out, bytes_out = session.ended_packets_out, session.ended_bytes_out
    for flow in session.flows:
        if flow.owner is session:
            packets_in += flow.packets_in
            bytes_in += flow.bytes_in
            packets_out += flow.packets_out
            bytes_out += flow.bytes_out
    return Totals(packets_in, bytes_in, packets_out, bytes_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions that a session must all meet; None: any."""

    service: str | None = None
    server: str | None = None
    network: IPv4Network | IPv6Network | None = None
    spi: str | None = None
    phase: str | None = None
    idle_over_s: float | None = None

    def matches(self, session: Session, now_s: float) -> bool:
        """Whether a session meets every condition."""
        return (
            (self.service is None or session.service.name == self.service)
            and (self.server is None or session.server.name == self.server)
            and (self.phase is None or session.phase == self.phase)
            and (self.network is None or in_network(session.host, self.network))
            and (self.spi is None or has_spi(session, self.spi))
            and (self.idle_over_s is None or now_s - session.last_activity_s() > self.idle_over_s)
        )


def make_filter(
    *,
    service: str | None = None,
    server: str | None = None,
    client: str | None = None,
    spi: str | None = None,
    phase: str | None = None,
    idle_over_s: float | None = None,
) -> Filter:
    """A filter from what the operator typed.

    Raises:
        BadQuery: the client is no address, the SPI not hexadecimal, or the phase unknown.
    """
    if phase is not None and phase not in list(Phase):
        raise BadQuery(f"there is no phase {phase!r}: write one of {', '.join(Phase)}")
    if spi is not None:
        spi = spi.lower().removeprefix("0x")
        if not spi or not all(digit in "0123456789abcdef" for digit in spi):
            raise BadQuery(f"an SPI is up to 16 hexadecimal digits, not {spi!r}")
    network = parse_network(client) if client else None
    return Filter(service=service, server=server, network=network, spi=spi, phase=phase, idle_over_s=idle_over_s)


def parse_network(client: str) -> IPv4Network | IPv6Network:
    """An address or a prefix; raises BadQuery."""
    try:
        return ip_network(client, strict=False)
    except ValueError:
        raise BadQuery(
            f"{client!r} is no address: write one such as 198.51.100.7, or a prefix such as 198.51.100.0/24"
        ) from None


def in_network(host: str, network: IPv4Network | IPv6Network) -> bool:
    """Whether a client address lies in a network."""
    address = ip_address(host.partition("%")[0])
    return address.version == network.version and address in network


def has_spi(session: Session, digits: str) -> bool:
    """Whether any IKE SPI of a session begins with these hexadecimal digits."""
    return any(f"{spi:016x}".startswith(digits) for pair in session.spis for spi in pair if spi)


class Selection:
    """A query under way: feed it the table in slices, then take the window."""

    def __init__(self, condition: Filter, sort: str, descending: bool, now_s: float) -> None:
        if sort not in SORTS:
            raise BadQuery(f"sessions cannot be sorted by {sort!r}: write one of {', '.join(SORTS)}")
        self._filter = condition
        self._key = _sort_key(sort, now_s)
        self._descending = descending
        self._now_s = now_s
        self._found: list[Session] = []

    def feed(self, sessions: list[Session]) -> None:
        """Look at some of the sessions."""
        matches, now_s = self._filter.matches, self._now_s
        self._found += [session for session in sessions if matches(session, now_s)]

    @property
    def matched(self) -> int:
        """How many sessions met the conditions."""
        return len(self._found)

    def window(self, offset: int, limit: int) -> list[Session]:
        """The sessions at these places of the sorted list; only as much is sorted as is asked for."""
        first = heapq.nlargest if self._descending else heapq.nsmallest
        return first(offset + limit, self._found, key=self._key)[offset:]


def slices(things: list[Thing]) -> Iterator[list[Thing]]:
    """Cut a list into pieces that are looked through in a few milliseconds at most."""
    return (things[start : start + SLICE] for start in range(0, len(things), SLICE))


def _sort_key(sort: str, now_s: float) -> Callable[[Session], Any]:
    match sort:
        case "age":
            return lambda session: now_s - session.created_s
        case "idle":
            return lambda session: now_s - session.last_activity_s()
        case "client":
            return lambda session: ip_address(session.host.partition("%")[0]).packed
        case "server":
            return lambda session: session.server.name
        case "service":
            return lambda session: session.service.name
        case "phase":
            return lambda session: session.phase
        case _:
            return lambda session: getattr(totals(session), sort)
