"""What a console costs the slow path: round trips beside one in the engine's process, one attached to it, and none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .console_settings import ConsoleSettings
from .console_terminal import Size, Terminal, console
from .load import generator
from .measures import Values
from .peers import ours
from .processes import FILE_LIMIT, FORWARDER_CORE, prefer
from .report import Sample
from .testbed import Testbed, testbed

SIZE = Size(160, 48)
WINDOW = 64
WARM_UP_S = 0.5


def run(settings: ConsoleSettings, directory: Path) -> Iterator[Sample]:
    """Every case in every round; each round begins with another one."""
    with testbed(directory) as bed:
        for number in range(1, settings.rounds + 1):
            turn = number % len(CASES)
            for case in CASES[turn:] + CASES[:turn]:
                yield Sample("delay", f"{settings.rate_per_s}/s", number, case.name, _delay(settings, bed, case))


def _delay(settings: ConsoleSettings, bed: Testbed, case: Case) -> Values:
    with case.running(bed) as terminal, generator(bed, ours.TARGET) as load:
        clients, rate, size = settings.clients, settings.rate_per_s, settings.size_bytes
        tunnels = load.establish(clients, WINDOW, first_port=4500)
        if tunnels.failed:
            raise RuntimeError(f"{tunnels.failed} of {clients} tunnels did not come up: nothing to measure")
        if terminal is not None:
            terminal.press("2")
            terminal.shown("› sessions")
            if not case.is_read:
                _stop_reading(terminal)
        load.latency(clients, rate, size, WARM_UP_S)
        written = terminal.size_bytes if terminal is not None else 0
        trips = load.latency(clients, rate, size, settings.delay_s)
        values = {
            "p50_us": trips.p50_us,
            "p99_us": trips.p99_us,
            "max_us": trips.max_us,
            "lost": trips.sent - trips.received,
        }
        if terminal is not None:
            values["bytes_shown"] = terminal.size_bytes - written
        return values


@contextmanager
def _absent(bed: Testbed) -> Iterator[None]:
    with ours.running_with(bed, ours.write_configuration(bed)):
        yield None


@contextmanager
def _attached(bed: Testbed) -> Iterator[Terminal]:
    configuration = ours.write_configuration(bed)
    with (
        ours.running_with(bed, configuration),
        console(SIZE, configuration.parent, "-c", str(configuration)) as terminal,
    ):
        terminal.shown("server-1")
        yield terminal


@contextmanager
def _in_process(bed: Testbed) -> Iterator[Terminal]:
    with in_process(bed, ours.write_configuration(bed)) as terminal:
        yield terminal


@contextmanager
def in_process(bed: Testbed, configuration: Path) -> Iterator[Terminal]:
    """Run a console that starts the engine itself, in the balancer's namespace on the forwarder's core."""
    core = ["taskset", "-c", str(FORWARDER_CORE), "prlimit", f"--nofile={FILE_LIMIT}"]
    inside = ["ip", "netns", "exec", bed.balancer, *core]
    with console(SIZE, configuration.parent, "-c", str(configuration), prefix=inside) as terminal:
        terminal.shown("server-1")
        prefer(terminal.pid)
        yield terminal


def _stop_reading(terminal: Terminal) -> None:
    """Read no more, and have the console write until it cannot."""
    terminal.pause()
    for key in "12" * 10:
        terminal.press(key)
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Case:
    """Where the console is."""

    name: str
    running: Callable[[Testbed], AbstractContextManager[Terminal | None]]
    is_read: bool = True


CASES = (
    Case("absent", _absent),
    Case("attached", _attached),
    Case("in-process", _in_process),
    Case("in-process, terminal not reading", _in_process, is_read=False),
)
