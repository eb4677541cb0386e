"""The counters that are sampled: sessions that began and ended, packets and bytes both ways."""

from __future__ import annotations

from typing import NamedTuple

from engine.sessions.real_server import RealServer
from engine.sessions.service import Service


class Counts(NamedTuple):
    """Counted since a thing was made."""

    new_sessions: int = 0
    ended_sessions: int = 0
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0

    def plus(self, other: Counts) -> Counts:
        """The sum, counter by counter."""
        return Counts(*(mine + its for mine, its in zip(self, other, strict=True)))

    def since(self, earlier: Counts) -> Counts:
        """What was added; nothing where a counter went back."""
        return Counts(*(max(0, mine - its) for mine, its in zip(self, earlier, strict=True)))


def counts_of(thing: Service | RealServer) -> Counts:
    """What one service or real server has counted."""
    match thing:
        case RealServer():
            return Counts(
                thing.new_sessions,
                thing.ended_sessions,
                thing.packets_in,
                thing.bytes_in,
                thing.packets_out,
                thing.bytes_out,
            )
        case Service():
            servers = thing.servers.values()
            return Counts(
                thing.new_sessions,
                thing.ended_sessions,
                thing.ended_packets_in + sum(server.packets_in for server in servers),
                thing.ended_bytes_in + sum(server.bytes_in for server in servers),
                thing.ended_packets_out + sum(server.packets_out for server in servers),
                thing.ended_bytes_out + sum(server.bytes_out for server in servers),
            )


def sessions_of(thing: Service | RealServer) -> int:
    """How many sessions one service or real server has, as its status counts them."""
    servers = (thing,) if isinstance(thing, RealServer) else tuple(thing.servers.values())
    return sum(server.established + server.half_open for server in servers)
