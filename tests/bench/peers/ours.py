"""ikeconsole's headless engine: every packet through trio, or with the kernel's part as it comes."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from engine.config.schema import FastPath, Source

from ..processes import FORWARDER_CORE, Process, running
from ..testbed import REAL_SERVERS, SERVICE_ADDRESS, SNAT_ADDRESSES, Testbed

NAME = "ours"
TARGET = SERVICE_ADDRESS
REPOSITORY = Path(__file__).parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"
"""What runs an engine that was installed: see packaging/install."""

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


@cache
def usual_python() -> str:
    """The system's Python as an installed engine has it, if it is of this one's version; else this one."""
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        told = subprocess.run([SYSTEM_PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return sys.executable
    return SYSTEM_PYTHON if told.split() == [str(number) for number in sys.version_info[:2]] else sys.executable


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine under some Python, which finds this one's packages, and perhaps under cProfile.

    A profile makes it slower, but says where the time goes; each measure overwrites the file.
    """

    python: str
    profile: Path | None = None
    NAME: str = NAME
    TARGET: str = TARGET

    def version(self) -> str:
        """The installed version, marked when it is profiled."""
        return version() if self.profile is None else f"{version()}, profiled"

    @contextmanager
    def forwarding(self, bed: Testbed, source: Source, fast_path: FastPath = FastPath.OFF) -> Iterator[Process]:
        """Run the engine in the balancer's namespace; the block starts when both ports are bound."""
        packages = f"PYTHONPATH={REPOSITORY}:{sysconfig.get_path('purelib')}"
        command = ["env", packages, self.python]
        if self.profile is not None:
            command += ["-m", "cProfile", "-o", str(self.profile.absolute())]
        with running_with(bed, write_configuration(bed, source, fast_path), *command) as process:
            yield process


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
def running_with(bed: Testbed, configuration: Path, *python: str) -> Iterator[Process]:
    """Run the engine with a configuration, by this Python or another; the block starts when both ports are bound."""
    command = [*(python or [sys.executable]), "-m", "ikeconsole", "engine", "-c", str(configuration)]
    log = configuration.with_name("output.log")
    with running(bed.balancer, FORWARDER_CORE, command, log=log, cwd=REPOSITORY) as process:
        process.await_udp_port(SERVICE_ADDRESS, 500)
        process.await_udp_port(SERVICE_ADDRESS, 4500)
        yield process
