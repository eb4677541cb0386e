"""A real engine on loopback between simulated real servers and clients; no privilege needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tomli_w

TREE = Path(__file__).parents[3]
SERVICE = "vpn"
SERVICE_ADDRESS = "127.0.3.1"
SERVERS = {"one": "127.0.3.11", "two": "127.0.3.12"}
STARTED_TIMEOUT_S = 10.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FROM_SERVERS = ("from-server-", "reply-")
"""How reasons begin that count datagrams on their way to clients."""


class Engine:
    """A running engine."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, ports: tuple[int, int]) -> None:
        self.process = process
        self.log = directory / "engine.log"
        self.control_socket = directory / "control.sock"
        self.ike = (SERVICE_ADDRESS, ports[0])
        self.nat_t = (SERVICE_ADDRESS, ports[1])

    def rss_bytes(self) -> int:
        """Resident memory now, as the kernel sees it."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def open_files(self) -> int:
        """File descriptors open now."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextmanager
def running_engine(directory: Path, ports: tuple[int, int], **settings: object) -> Iterator[Engine]:
    """An engine, ready, and its real servers, until the block ends; the engine must then stop cleanly."""
    config = {
        "engine": {
            "control_socket": str(directory / "control.sock"),
            "state_dir": str(directory / "state"),
            "fast_path": "off",
            **settings,
        },
        "service": [
            {
                "name": SERVICE,
                "address": SERVICE_ADDRESS,
                "ike_port": ports[0],
                "nat_t_port": ports[1],
                "source": "snat",
                # Probes would compete with the flood for the simulated servers, which are not what is tested.
                "health": {"type": "none"},
                "real_server": [{"name": name, "address": address} for name, address in SERVERS.items()],
            }
        ],
    }
    file = directory / "config.toml"
    file.write_text(tomli_w.dumps(config))
    arguments = ["ikeconsole", "engine", "-c", str(file)]
    with ExitStack() as stack:
        stack.enter_context(_real_servers(ports))
        log = stack.enter_context((directory / "engine.log").open("wb"))
        ready = stack.enter_context(_notify_socket(directory / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stderr=log,
            cwd=TREE,
            env=os.environ | {"NOTIFY_SOCKET": ready.getsockname()},
        )
        try:
            assert ready.recv(100) == b"READY=1"
            yield Engine(process, directory, ports)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()


def free_ports() -> tuple[int, int]:
    """Two UDP ports that nobody uses."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    try:
        for sock in socks:
            sock.bind(("0.0.0.0", 0))
        return socks[0].getsockname()[1], socks[1].getsockname()[1]
    finally:
        for sock in socks:
            sock.close()


@contextmanager
def _notify_socket(path: Path) -> Iterator[socket.socket]:
    """Where the engine says that it is ready, as it does to systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(STARTED_TIMEOUT_S)
        sock.bind(str(path))
        yield sock


@contextmanager
def _real_servers(ports: tuple[int, int]) -> Iterator[None]:
    arguments = ["malformed.server", *map(str, ports), *SERVERS.values()]
    search = os.pathsep.join((str(TREE), str(TREE / "tests" / "e2e")))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": search}
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == b"bound\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
