"""ikeconsole's headless engine: snat with every packet through trio, or transparent as it comes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from engine.config.schema import FastPath, Source

from ..processes import FORWARDER_CORE, Process, running
from ..testbed import REAL_SERVERS, SERVICE_ADDRESS, SNAT_ADDRESSES, Testbed

NAME = "ours"
TARGET = SERVICE_ADDRESS
REPOSITORY = Path(__file__).parents[3]

CONFIGURATION = """\
[engine]
control_socket = "{directory}/control.sock"
state_dir = "{directory}"
fast_path = "{fast_path}"

[[service]]
name = "bench"
address = "{service}"
{source}
scheduler = "source-hash"
persistence = "source-address"

[service.health]
type = "none"
{real_servers}"""

SOURCES = {
    Source.SNAT: f'source = "snat"\nsnat_addresses = ["{SNAT_ADDRESSES[0]}-{SNAT_ADDRESSES[-1]}"]',
    Source.TRANSPARENT: 'source = "transparent"',
}
REAL_SERVER = """
[[service.real_server]]
name = "server-{number}"
address = "{address}"
"""


def version() -> str:
    """The installed version."""
    try:
        return installed_version("ikeconsole")
    except PackageNotFoundError:
        return "source tree"


def forwarding(bed: Testbed, source: Source) -> AbstractContextManager[Process]:
    """Run the engine in the balancer's namespace; the block starts when both ports are bound."""
    return _engine(bed, source)


@dataclass(frozen=True, slots=True)
class Profiled:
    """The engine under cProfile: slower, but it says where the time goes. Each measure overwrites the file."""

    output: Path
    NAME: str = NAME
    TARGET: str = TARGET

    def version(self) -> str:
        """The installed version, marked."""
        return f"{version()}, profiled"

    def forwarding(self, bed: Testbed, source: Source) -> AbstractContextManager[Process]:
        """Run the engine; the profile is written when it ends."""
        return _engine(bed, source, "-m", "cProfile", "-o", str(self.output.absolute()))


def write_configuration(bed: Testbed, source: Source = Source.SNAT, fast_path: FastPath = FastPath.OFF) -> Path:
    """Write the configuration into a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="ours-", dir=bed.directory))
    configuration = directory / "config.toml"
    servers = (REAL_SERVER.format(number=n, address=address) for n, address in enumerate(REAL_SERVERS, 1))
    configuration.write_text(
        CONFIGURATION.format(
            directory=directory,
            service=SERVICE_ADDRESS,
            fast_path=fast_path,
            source=SOURCES[source],
            real_servers="".join(servers),
        )
    )
    return configuration


@contextmanager
def _engine(bed: Testbed, source: Source, *python: str) -> Iterator[Process]:
    fast_path = FastPath.AUTO if source is Source.TRANSPARENT else FastPath.OFF
    with running_with(bed, write_configuration(bed, source, fast_path), *python) as process:
        yield process


@contextmanager
def running_with(bed: Testbed, configuration: Path, *python: str) -> Iterator[Process]:
    """Run the engine with a configuration; the block starts when both ports are bound."""
    command = [sys.executable, *python, "-m", "ikeconsole", "engine", "-c", str(configuration)]
    log = configuration.with_name("output.log")
    with running(bed.balancer, FORWARDER_CORE, command, log=log, cwd=REPOSITORY) as process:
        process.await_udp_port(SERVICE_ADDRESS, 500)
        process.await_udp_port(SERVICE_ADDRESS, 4500)
        yield process
