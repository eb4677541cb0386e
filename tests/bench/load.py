"""The load generator: its commands, and what it answers, as records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from .processes import LOAD_CORE, Process, running
from .testbed import FIRST_CLIENT, Testbed


class Established(msgspec.Struct, frozen=True):
    """How setting tunnels up went; a client fails when six sendings of a message draw no answer."""

    established: int
    failed: int
    retransmitted: int
    seconds: float


class Flooded(msgspec.Struct, frozen=True):
    """How a closed loop of ESP went; misdelivered are answers that reached another client's address."""

    sent: int
    received: int
    lost: int
    misdelivered: int
    seconds: float


class RoundTrips(msgspec.Struct, frozen=True):
    """Round-trip times of single ESP datagrams."""

    sent: int
    received: int
    p50_us: float
    p99_us: float
    max_us: float


Answer = TypeVar("Answer", Established, Flooded, RoundTrips)


@dataclass(frozen=True, slots=True)
class Generator:
    """A running generator."""

    process: Process

    def establish(self, clients: int, window: int, *, first_port: int = 500) -> Established:
        """Set a tunnel up for each client, up to its first ESP datagram, at most `window` of them at once."""
        return self._ask(f"establish {clients} {window} {first_port}", Established, 600)

    def flood(self, clients: int, window: int, size_bytes: int, duration_s: float) -> Flooded:
        """Keep `window` ESP datagrams under way, round robin over the clients."""
        return self._ask(f"flood {clients} {window} {size_bytes} {duration_s}", Flooded, duration_s + 10)

    def latency(self, clients: int, rate_per_s: int, size_bytes: int, duration_s: float) -> RoundTrips:
        """Send one ESP datagram at a time at a fixed rate."""
        return self._ask(f"latency {clients} {rate_per_s} {size_bytes} {duration_s}", RoundTrips, 10 * duration_s + 10)

    def _ask(self, command: str, answer: type[Answer], timeout_s: float) -> Answer:
        stdin = self.process.child.stdin
        assert stdin
        stdin.write(f"{command}\n".encode())
        stdin.flush()
        return msgspec.json.decode(self.process.read_line(timeout_s), type=answer)


@contextmanager
def generator(bed: Testbed, target: str) -> Iterator[Generator]:
    """Run a generator whose clients talk to a target address."""
    command = [str(bed.directory / "generator"), target, FIRST_CLIENT]
    with running(bed.client, LOAD_CORE, command, log=bed.directory / "generator.log", pipes=True) as process:
        yield Generator(process)
