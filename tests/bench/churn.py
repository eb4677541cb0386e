"""Clients come and go for minutes: afterwards every table is empty, and memory has not grown.

The engine has short timeouts, the fast path where it can be had, a transparent and an snat service. What happens to it
is in `churn_clients`, what is asked of it in `churned_engine`. In the midst of it real clients keep tunnels to real
servers, through services of their own: `churn_tunnels`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.config.schema import Source
from engine.fastpath.pins import Pins, instance_name

from . import churn_tunnels
from .churn_clients import Happened
from .churn_maps import FLOW_TABLES, count_entries
from .churn_settings import ChurnSettings
from .churn_tunnels import KINDS, Lab, RealTunnels, TunnelCourse, real_network
from .churned_engine import Sample
from .peers.ours import REAL_SERVER, REPOSITORY
from .processes import FORWARDER_CORE, LOAD_CORE, Process, run, running
from .testbed import REAL_SERVERS, SERVICE_ADDRESS, SNAT_ADDRESSES, Testbed, bed_around

SECOND_ADDRESS = "198.18.0.11"
SERVICES = {Source.TRANSPARENT: SERVICE_ADDRESS, Source.SNAT: SECOND_ADDRESS}
PERSISTENCE = {Source.TRANSPARENT: "source-address", Source.SNAT: "ike-spi"}
ICMP_EVERY_SECOND = 'health = { type = "icmp", interval = "1s", timeout = "0.5s" }'
ANSWER_TIMEOUT_S = 30

CONFIGURATION = """\
[engine]
control_socket = "{directory}/control.sock"
state_dir = "{directory}"
max_sessions = 20000
"""
"""Few: the kernel's tables are made for so many, are resident memory too, and would hide what grows beside them."""
SERVICE = """
[[service]]
name = "{name}"
address = "{address}"
source = "{source}"
snat_addresses = {snat_addresses}
persistence = "{persistence}"
persistence_timeout = "15s"
timeouts = {{ half_open = "2s", ike_idle = "5s", nat_t_idle = "10s", spi_binding = "20s" }}
{health}
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """The engine as seen from inside and from outside."""

    at_s: float
    """Since the first client."""
    rss_bytes: int
    open_files: int
    map_entries: dict[str, int]
    """Of the engine's BPF maps, as the kernel has them, by name."""
    sample: Sample

    @property
    def kernel_flow_entries(self) -> int:
        """Entries of flows in the kernel, of both address families; a flow has two."""
        return sum(count for name, count in self.map_entries.items() if name in FLOW_TABLES)


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
    tunnels: list[TunnelCourse] = field(default_factory=list)


def run_churn(settings: ChurnSettings) -> Iterator[Churn]:
    """Have clients come and go; yields the run as it is after each moment."""
    with (
        tempfile.TemporaryDirectory(prefix="ikbench-churn-") as directory,
        real_network(Path(directory)) as lab,
        bed_around(lab.topology.nodes["lb"].namespace.name, Path(directory)) as bed,
        _engine(bed, lab) as engine,
    ):
        time.sleep(settings.settle_s)
        begun_s = time.monotonic()
        churn = Churn(settings, _look(engine, begun_s))
        with RealTunnels(lab) as tunnels, _clients(bed, settings.clients) as clients:
            begun_s = time.monotonic()
            for number in range(1, round(60 * settings.minutes / settings.sample_s) + 1):
                time.sleep(max(0.0, begun_s + number * settings.sample_s - time.monotonic()))
                churn.during.append(_look(engine, begun_s))
                yield churn
            churn.happened = msgspec.json.decode(_ask(clients), type=Happened)
            churn.tunnels = tunnels.end()
            churn.stopped_s = time.monotonic() - begun_s
        while not churn.after or not is_empty(churn.after[-1]):
            time.sleep(1)
            churn.after.append(_look(engine, begun_s))
            if churn.after[-1].at_s - churn.stopped_s > settings.returns_within_s:
                break
        yield churn


def is_empty(moment: Moment) -> bool:
    """Whether no table has an entry."""
    return not any(msgspec.structs.astuple(moment.sample.sizes)) and not moment.kernel_flow_entries


def _look(engine: Process, begun_s: float) -> Moment:
    sample = msgspec.json.decode(_ask(engine), type=Sample)
    maps = count_entries(engine.child.pid)
    return Moment(time.monotonic() - begun_s, engine.rss_bytes(), engine.open_files(), maps, sample)


def _ask(program: Process) -> bytes:
    stdin = program.child.stdin
    assert stdin
    stdin.write(b"\n")
    stdin.flush()
    return program.read_line(ANSWER_TIMEOUT_S)


@contextmanager
def _engine(bed: Testbed, lab: Lab) -> Iterator[Process]:
    run("ip", "-n", bed.balancer, "address", "add", f"{SECOND_ADDRESS}/32", "dev", "lo")
    run("ip", "-n", bed.client, "route", "add", f"{SECOND_ADDRESS}/32", "via", "198.18.1.1")
    directory = Path(tempfile.mkdtemp(prefix="churned-", dir=bed.directory))
    configuration = directory / "config.toml"
    configuration.write_text(_configuration(directory, lab))
    command = [sys.executable, "-m", "tests.bench.churned_engine", str(configuration)]
    log = directory / "output.log"
    try:
        with running(bed.balancer, FORWARDER_CORE, command, log=log, cwd=REPOSITORY, pipes=True) as process:
            for address in SERVICES.values():
                process.await_udp_port(address, 4500)
            yield process
    finally:
        # An engine that was killed leaves the kernel's part behind, for the next one.
        Pins(instance_name(directory)).drop()


def _configuration(directory: Path, lab: Lab) -> str:
    parts = [CONFIGURATION.format(directory=directory)]
    for source, address in SERVICES.items():
        parts.append(_service(source, source, address, SNAT_ADDRESSES, REAL_SERVERS, ICMP_EVERY_SECOND))
    for source, family in KINDS:
        address, pool = churn_tunnels.service_address(source, family), churn_tunnels.snat_addresses(lab, family)
        servers = churn_tunnels.REAL_SERVERS[family]
        parts.append(_service(f"strongswan-{source}-{family}", source, address, pool, servers))
    return "".join(parts)


def _service(
    name: str, source: Source, address: str, snat_pool: Iterable[str], real_servers: Iterable[str], health: str = ""
) -> str:
    service = SERVICE.format(
        name=name,
        address=address,
        source=source,
        snat_addresses=list(snat_pool) if source is Source.SNAT else [],
        persistence=PERSISTENCE[source],
        health=health,
    )
    return service + "".join(REAL_SERVER.format(number=n, address=server) for n, server in enumerate(real_servers, 1))


@contextmanager
def _clients(bed: Testbed, number: int) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.bench.churn_clients", str(number), *SERVICES.values()]
    log = bed.directory / "clients.log"
    with running(bed.client, LOAD_CORE, command, log=log, cwd=REPOSITORY, pipes=True) as process:
        yield process
