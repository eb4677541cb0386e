"""What is measured of the fast path: forwarding beside its peers, the cost of many flows, and round trips."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from engine.config.schema import FastPath, Source

from ..console_latency import in_process
from ..load import generator
from ..measures import Values
from ..peers import ours
from ..processes import LOAD_CORE
from ..report import Sample
from ..testbed import REAL_SERVERS, SERVICE_ADDRESS, Testbed
from .filled import FILLED
from .flood import flooder
from .flows import Direction
from .forwarders import BARE_REDIRECT, FORWARDERS, OURS, TUNNELS_AT_ONCE, Forwarder, Ready, await_kernel_flows
from .network import network
from .settings import FastPathSettings
from .traffic import Traffic, traffic

MEASURES = ("fast-forwarding", "fast-growth", "fast-flood", "fast-delay")
FORWARDING, GROWTH, FLOOD, DELAY = MEASURES
QUIET, FLOODED = "quiet", "flooded"
NOTICED_S = 2.0
"""So long a flood is on before anything is measured: by then the service asks for cookies."""


def run(settings: FastPathSettings, measures: Sequence[str]) -> Iterator[Sample]:
    """Measure what is named, and yield the numbers as they come."""
    with ExitStack() as stack:
        # The forwarder's core is for what is measured alone.
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {LOAD_CORE})
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ikbench-fastpath-"))
        net = stack.enter_context(network(Path(directory)))
        with traffic(net) as packets:
            if FORWARDING in measures:
                yield from _forwarding(settings, packets)
            if GROWTH in measures:
                yield from _growth(settings, packets)
            if FLOOD in measures:
                yield from _flood(settings, packets)
        if DELAY in measures:
            yield from _delay(settings, net.bed)


def forwarding_case(clients: int, size_bytes: int, direction: Direction) -> str:
    """How a sample of the first measure names what it is of."""
    return f"{clients:,} {'client' if clients == 1 else 'clients'}, {size_bytes:,} bytes, {direction.value}"


def _forwarding(settings: FastPathSettings, packets: Traffic) -> Iterator[Sample]:
    for clients in settings.clients:
        for number in range(1, settings.rounds + 1):
            for forwarder in _turned(FORWARDERS, number):
                with forwarder.forwarding(packets, min(clients, forwarder.most_clients)) as ready:
                    for size_bytes, direction in product(settings.sizes_bytes, Direction):
                        case = forwarding_case(clients, size_bytes, direction)
                        values = _measured(settings, packets, ready, size_bytes, direction)
                        yield Sample(FORWARDING, case, number, forwarder.name, values)


def _growth(settings: FastPathSettings, packets: Traffic) -> Iterator[Sample]:
    for clients in settings.growth_flows:
        for number in range(1, settings.rounds + 1):
            for forwarder in _turned((FILLED, BARE_REDIRECT), number):
                with forwarder.forwarding(packets, clients) as ready:
                    values = _measured(settings, packets, ready, settings.growth_size_bytes, Direction.TO_SERVER)
                yield Sample(GROWTH, str(clients), number, forwarder.name, values)


def _flood(settings: FastPathSettings, packets: Traffic) -> Iterator[Sample]:
    with flooder(packets.network) as attacker, OURS.forwarding(packets, settings.flood_clients) as ready:
        size_bytes, way = settings.flood_size_bytes, Direction.TO_SERVER
        for number, per_s in product(range(1, settings.rounds + 1), settings.flood_per_s):
            values = _measured(settings, packets, ready, size_bytes, way)
            yield Sample(FLOOD, str(per_s), number, QUIET, values)
            with attacker.flooding(per_s):
                time.sleep(NOTICED_S)
                made, start_s = attacker.made(), time.monotonic()
                values = _measured(settings, packets, ready, size_bytes, way)
                flood_per_s = (attacker.made() - made) / (time.monotonic() - start_s)
            yield Sample(FLOOD, str(per_s), number, FLOODED, values | {"flood_per_s": flood_per_s})


def _turned(forwarders: Sequence[Forwarder], number: int) -> Iterator[Forwarder]:
    """The forwarders in an order that differs from round to round."""
    turn = number % len(forwarders)
    yield from forwarders[turn:]
    yield from forwarders[:turn]


def _measured(
    settings: FastPathSettings, packets: Traffic, ready: Ready, size_bytes: int, direction: Direction
) -> Values:
    flows = ready.flows[direction]
    passed = packets.measure(
        direction, flows, size_bytes, warm_up_s=settings.warm_up_s, duration_s=settings.duration_s, pid=ready.pid
    )
    return {
        "packets_per_s": passed.arrived / passed.seconds,
        "cpu_ns_per_packet": passed.cpu_ns / max(passed.arrived, 1),
        "core_busy_share": passed.cpu_ns / 1e9 / passed.seconds,
        "lost_share": 1 - passed.arrived / max(passed.made, 1),
        "clients": flows.count,
    }


def _delay(settings: FastPathSettings, bed: Testbed) -> Iterator[Sample]:
    for number in range(1, settings.rounds + 1):
        turn = number % len(CASES)
        for case in CASES[turn:] + CASES[:turn]:
            with case.running(bed) as configuration, generator(bed, case.target) as load:
                clients, rate, size = settings.delay_clients, settings.delay_rate_per_s, settings.delay_size_bytes
                tunnels = load.establish(clients, TUNNELS_AT_ONCE, first_port=4500)
                if tunnels.failed:
                    raise RuntimeError(f"{tunnels.failed} of {clients} tunnels did not come up: nothing to measure")
                if configuration is not None:
                    await_kernel_flows(configuration, clients)
                load.latency(clients, rate, size, settings.warm_up_s)
                trips = load.latency(clients, rate, size, settings.delay_s)
                values = {
                    "p50_us": trips.p50_us,
                    "p99_us": trips.p99_us,
                    "max_us": trips.max_us,
                    "lost": trips.sent - trips.received,
                }
                yield Sample(DELAY, f"{rate}/s", number, case.name, values)


@contextmanager
def _routed(_: Testbed) -> Iterator[None]:
    yield None


@contextmanager
def _headless(bed: Testbed) -> Iterator[Path]:
    configuration = ours.write_configuration(bed, Source.TRANSPARENT, FastPath.NATIVE)
    with ours.running_with(bed, configuration):
        yield configuration


@contextmanager
def _beside_console(bed: Testbed) -> Iterator[Path]:
    configuration = ours.write_configuration(bed, Source.TRANSPARENT, FastPath.NATIVE)
    with in_process(bed, configuration) as terminal:
        terminal.press("2")
        terminal.shown("› sessions")
        yield configuration


@dataclass(frozen=True, slots=True)
class Case:
    """A way to real servers; its engine's configuration where there is one."""

    name: str
    target: str
    running: Callable[[Testbed], AbstractContextManager[Path | None]]


WITHOUT_BALANCER = Case("no balancer", REAL_SERVERS[0], _routed)
CASES = (
    WITHOUT_BALANCER,
    Case("headless", SERVICE_ADDRESS, _headless),
    Case("console in-process", SERVICE_ADDRESS, _beside_console),
)
