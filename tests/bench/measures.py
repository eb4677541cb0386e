"""What is measured: each measure runs one peer once and returns plain numbers by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from engine.config.schema import FastPath, Source

from .load import Generator, generator
from .processes import FORWARDER_CORE, LOAD_CORE, Process, core_busy_s, kernel_slab_bytes
from .testbed import Testbed


class Peer(Protocol):
    """A module of `peers`: something that forwards between clients and real servers."""

    @property
    def NAME(self) -> str:
        """What `--peers` and the report call it."""

    @property
    def TARGET(self) -> str:
        """The address clients talk to."""

    def version(self) -> str:
        """What the report calls this peer's version."""

    def forwarding(
        self, bed: Testbed, source: Source, fast_path: FastPath = FastPath.OFF
    ) -> AbstractContextManager[Process | None]:
        """Run it, with `fast_path` if it has one; None when nothing of it is a process."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything; the report states it."""

    rounds: int = 3
    settle_s: float = 1
    """How long a forwarder is left alone after its start, and before its memory is read."""
    esp_size_bytes: int = 200
    forwarding_clients: tuple[int, ...] = (1, 1_000, 10_000)
    forwarding_window: int = 128
    forwarding_warm_up_s: float = 1
    forwarding_s: float = 4
    sessions: int = 9_000
    sessions_at_once: tuple[int, ...] = (64, 1_000, 4_000)
    """How many clients set tunnels up at any moment: a few, and those of a VPN that was gone for a while."""
    preparing_window: int = 64
    memory_sessions: tuple[int, ...] = (9_000, 50_000)
    memory_window: int = 256
    latency_clients: int = 200
    latency_rate_per_s: int = 500
    latency_s: float = 6


QUICK = Settings(
    rounds=1,
    forwarding_clients=(1, 1_000),
    forwarding_warm_up_s=0.5,
    forwarding_s=1,
    sessions=1_000,
    sessions_at_once=(64, 1_000),
    memory_sessions=(2_000,),
    latency_s=1,
)

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One case of a measure, ready to run against a peer; with the direct path too, where that says something."""

    name: str
    case: str
    run: Callable[[Testbed, Peer], Values]
    also_direct: bool = False


def plan(settings: Settings) -> list[Measure]:
    """Every case, in the order it is run and reported."""
    return [
        *(
            Measure("forwarding", _count(clients, "client"), partial(forward, settings, clients), also_direct=True)
            for clients in settings.forwarding_clients
        ),
        *(
            Measure(
                "sessions",
                f"{settings.sessions:,} tunnels, {window:,} at once, {source}",
                partial(set_up, settings, window, source),
            )
            for window in settings.sessions_at_once
            for source in Source
        ),
        *(
            Measure("memory", f"{sessions:,} sessions", partial(hold, settings, sessions))
            for sessions in settings.memory_sessions
        ),
        Measure("latency", f"{settings.latency_rate_per_s}/s", partial(delay, settings), also_direct=True),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _establish_all(load: Generator, clients: int, window: int) -> None:
    # Starting on 4500 (RFC 7296 section 2.23) gives each client one flow: with a socket for each, two flows of
    # 10 000 clients do not fit into the usual limit of 20 000 open files.
    tunnels = load.establish(clients, window, first_port=4500)
    if tunnels.failed:
        raise RuntimeError(f"{tunnels.failed} of {clients} tunnels did not come up: nothing to measure")


def forward(settings: Settings, clients: int, bed: Testbed, peer: Peer) -> Values:
    """Packets forwarded, counting both directions, in a closed loop of ESP over established tunnels."""
    with peer.forwarding(bed, Source.SNAT) as process, generator(bed, peer.TARGET) as load:
        _establish_all(load, clients, settings.preparing_window)
        size, window = settings.esp_size_bytes, settings.forwarding_window
        load.flood(clients, window, size, settings.forwarding_warm_up_s)
        cpu_s = process.cpu_s() if process else 0
        forwarder_busy_s, load_busy_s = core_busy_s(FORWARDER_CORE), core_busy_s(LOAD_CORE)
        flood = load.flood(clients, window, size, settings.forwarding_s)
        forwarder_busy_s = core_busy_s(FORWARDER_CORE) - forwarder_busy_s
        load_busy_s = core_busy_s(LOAD_CORE) - load_busy_s
        packets = 2 * flood.received
        values = {
            "packets_per_s": packets / flood.seconds,
            "sent": flood.sent,
            "received": flood.received,
            "lost": flood.lost,
            "misdelivered": flood.misdelivered,
            "forwarder_core_busy_share": forwarder_busy_s / flood.seconds,
            "load_core_busy_share": load_busy_s / flood.seconds,
        }
        if process:
            cpu_s = process.cpu_s() - cpu_s
            values["forwarder_cpu_s"] = cpu_s
            values["packets_per_cpu_s"] = packets / max(cpu_s, 0.01)
        return values


def set_up(settings: Settings, window: int, source: Source, bed: Testbed, peer: Peer) -> Values:
    """Tunnels set up a second: IKE_SA_INIT on 500, IKE_AUTH on 4500 and a first ESP datagram, each answered."""
    with peer.forwarding(bed, source, FastPath.AUTO) as process, generator(bed, peer.TARGET) as load:
        time.sleep(settings.settle_s)
        cpu_s = process.cpu_s() if process else 0
        done = load.establish(settings.sessions, window)
        values = {
            "sessions_per_s": done.established / done.seconds,
            "failed": done.failed,
            "retransmitted": done.retransmitted,
        }
        if process:
            values["sessions_per_cpu_s"] = done.established / max(process.cpu_s() - cpu_s, 0.01)
        return values


def hold(settings: Settings, wanted: int, bed: Testbed, peer: Peer) -> Values:
    """Memory of idle sessions that have sent IKE_SA_INIT, IKE_AUTH and one ESP datagram.

    Where the sessions need more open files than the process may have, it also shows how many still came up.
    """
    with peer.forwarding(bed, Source.SNAT) as process, generator(bed, peer.TARGET) as load:
        assert process
        time.sleep(settings.settle_s)
        empty_bytes, empty_files, empty_slab_bytes = process.rss_bytes(), process.open_files(), kernel_slab_bytes()
        done = load.establish(wanted, settings.memory_window)
        time.sleep(settings.settle_s)
        rss_bytes = process.rss_bytes()
        sessions = max(done.established, 1)
        return {
            "memory_bytes_per_session": (rss_bytes - empty_bytes) / sessions,
            "kernel_bytes_per_session": (kernel_slab_bytes() - empty_slab_bytes) / sessions,
            "files_per_session": (process.open_files() - empty_files) / sessions,
            "rss_bytes_empty": empty_bytes,
            "rss_bytes_full": rss_bytes,
            "established_share": done.established / wanted,
            "established": done.established,
            "retransmitted": done.retransmitted,
            "seconds": done.seconds,
        }


def delay(settings: Settings, bed: Testbed, peer: Peer) -> Values:
    """Round-trip time of single ESP datagrams at a low rate."""
    with peer.forwarding(bed, Source.SNAT), generator(bed, peer.TARGET) as load:
        clients, rate, size = settings.latency_clients, settings.latency_rate_per_s, settings.esp_size_bytes
        _establish_all(load, clients, settings.preparing_window)
        load.latency(clients, rate, size, 1)
        trips = load.latency(clients, rate, size, settings.latency_s)
        return {
            "p50_us": trips.p50_us,
            "p99_us": trips.p99_us,
            "max_us": trips.max_us,
            "lost": trips.sent - trips.received,
        }
