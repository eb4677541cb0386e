"""Clients come and go for minutes: afterwards every table is empty, and memory has not grown.

The engine has short timeouts, the fast path where it can be had, a transparent and an snat service. What happens to it
is in `churn_clients`, what is asked of it in `churned_engine`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.config.schema import Source
from engine.fastpath.pins import Pins, instance_name

from .churn_clients import Happened
from .churn_settings import ChurnSettings
from .churned_engine import Sample
from .peers.ours import REAL_SERVER, REPOSITORY, SOURCES
from .processes import FORWARDER_CORE, LOAD_CORE, Process, run, running
from .testbed import REAL_SERVERS, SERVICE_ADDRESS, Testbed, testbed

SECOND_ADDRESS = "198.18.0.11"
SERVICES = {
    SERVICE_ADDRESS: (Source.TRANSPARENT, "source-address"),
    SECOND_ADDRESS: (Source.SNAT, "ike-spi"),
}
ANSWER_TIMEOUT_S = 30

CONFIGURATION = """\
[engine]
control_socket = "{directory}/control.sock"
state_dir = "{directory}"
"""
SERVICE = """
[[service]]
name = "{source}"
address = "{address}"
{how}
persistence = "{persistence}"
persistence_timeout = "15s"
timeouts = {{ half_open = "2s", ike_idle = "5s", nat_t_idle = "10s", spi_binding = "20s" }}
health = {{ type = "icmp", interval = "1s", timeout = "0.5s" }}
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """The engine as seen from inside and from outside."""

    at_s: float
    """Since the first client."""
    rss_bytes: int
    open_files: int
    sample: Sample


@dataclass(slots=True)
class Churn:
    """A whole run."""

    settings: ChurnSettings
    before: Moment
    """Without clients."""
    during: list[Moment] = field(default_factory=list)
    after: list[Moment] = field(default_factory=list)
    """From the last client on."""
    stopped_s: float = 0.0
    """When the last client fell silent."""
    happened: Happened = field(default_factory=Happened)


def run_churn(settings: ChurnSettings) -> Iterator[Churn]:
    """Have clients come and go; yields the run as it is after each moment."""
    with (
        tempfile.TemporaryDirectory(prefix="ikbench-churn-") as directory,
        testbed(Path(directory)) as bed,
        _engine(bed) as engine,
    ):
        time.sleep(settings.settle_s)
        begun_s = time.monotonic()
        churn = Churn(settings, _look(engine, begun_s))
        with _clients(bed, settings.clients) as clients:
            begun_s = time.monotonic()
            for number in range(1, round(60 * settings.minutes / settings.sample_s) + 1):
                time.sleep(max(0.0, begun_s + number * settings.sample_s - time.monotonic()))
                churn.during.append(_look(engine, begun_s))
                yield churn
            churn.happened = msgspec.json.decode(_ask(clients), type=Happened)
            churn.stopped_s = time.monotonic() - begun_s
        while not churn.after or not is_empty(churn.after[-1]):
            time.sleep(1)
            churn.after.append(_look(engine, begun_s))
            if churn.after[-1].at_s - churn.stopped_s > settings.returns_within_s:
                break
        yield churn


def is_empty(moment: Moment) -> bool:
    """Whether no table has an entry."""
    return not any(msgspec.structs.astuple(moment.sample.sizes))


def _look(engine: Process, begun_s: float) -> Moment:
    sample = msgspec.json.decode(_ask(engine), type=Sample)
    return Moment(time.monotonic() - begun_s, engine.rss_bytes(), engine.open_files(), sample)


def _ask(program: Process) -> bytes:
    stdin = program.child.stdin
    assert stdin
    stdin.write(b"\n")
    stdin.flush()
    return program.read_line(ANSWER_TIMEOUT_S)


@contextmanager
def _engine(bed: Testbed) -> Iterator[Process]:
    run("ip", "-n", bed.balancer, "address", "add", f"{SECOND_ADDRESS}/32", "dev", "lo")
    run("ip", "-n", bed.client, "route", "add", f"{SECOND_ADDRESS}/32", "via", "198.18.1.1")
    directory = Path(tempfile.mkdtemp(prefix="churned-", dir=bed.directory))
    configuration = directory / "config.toml"
    configuration.write_text(_configuration(directory))
    command = [sys.executable, "-m", "tests.bench.churned_engine", str(configuration)]
    log = directory / "output.log"
    try:
        with running(bed.balancer, FORWARDER_CORE, command, log=log, cwd=REPOSITORY, pipes=True) as process:
            for address in SERVICES:
                process.await_udp_port(address, 4500)
            yield process
    finally:
        # An engine that was killed leaves the kernel's part behind, for the next one.
        Pins(instance_name(directory)).drop()


def _configuration(directory: Path) -> str:
    parts = [CONFIGURATION.format(directory=directory)]
    for address, (source, persistence) in SERVICES.items():
        parts.append(SERVICE.format(source=source, address=address, how=SOURCES[source], persistence=persistence))
        parts += (REAL_SERVER.format(number=n, address=server) for n, server in enumerate(REAL_SERVERS, 1))
    return "".join(parts)


@contextmanager
def _clients(bed: Testbed, number: int) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.bench.churn_clients", str(number), *SERVICES]
    log = bed.directory / "clients.log"
    with running(bed.client, LOAD_CORE, command, log=log, cwd=REPOSITORY, pipes=True) as process:
        yield process
