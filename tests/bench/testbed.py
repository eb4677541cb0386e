"""The network of a run: clients, balancer and real servers in namespaces of their own.

client --198.18.1.0/24-- balancer --198.18.2.0/24-- server; client --198.18.3.0/24-- server is direct.
The clients are all of 100.64.0.0/10, by one local route ("AnyIP") in the client namespace. What a real server sends to
them goes back through the balancer, as transparent services need it, but for the answers of the direct server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import LOAD_CORE, run, running

SOURCES = Path(__file__).parent
SERVICE_ADDRESS = "198.18.0.10"
REAL_SERVERS = ("198.18.2.11", "198.18.2.12")
DIRECT_SERVER = "198.18.3.11"
DIRECT_TABLE = "1"
SNAT_FIRST, SNAT_COUNT = 101, 8
SNAT_ADDRESSES = tuple(f"198.18.2.{SNAT_FIRST + i}" for i in range(SNAT_COUNT))
CLIENTS = "100.64.0.0/10"
FIRST_CLIENT = "100.64.0.1"


@dataclass(frozen=True, slots=True)
class Testbed:
    """The names of a run's namespaces, and its directory for programs, configurations and logs."""

    client: str
    balancer: str
    server: str
    directory: Path


@contextmanager
def testbed(directory: Path) -> Iterator[Testbed]:
    """Build the programs and the namespaces, run the responder; all is gone when the block ends."""
    balancer = f"ikbench-balancer-{os.getpid()}"
    with _namespace(balancer), bed_around(balancer, directory) as bed:
        yield bed


@contextmanager
def bed_around(balancer: str, directory: Path) -> Iterator[Testbed]:
    """The same around a balancer's namespace that routes already; it stays when the block ends."""
    for program in ("generator", "responder"):
        run("cc", "-O2", "-Wall", "-Wextra", "-o", str(directory / program), str(SOURCES / f"{program}.c"))
    client, server = (f"ikbench-{role}-{os.getpid()}" for role in ("client", "server"))
    with ExitStack() as stack:
        for name in (client, server):
            stack.enter_context(_namespace(name))
        _link(client, "up1", "198.18.1.2", balancer, "down1", "198.18.1.1")
        _link(balancer, "up2", "198.18.2.1", server, "down2", "198.18.2.2")
        _link(client, "direct", "198.18.3.1", server, "direct", DIRECT_SERVER)
        for address in REAL_SERVERS:
            run("ip", "-n", server, "address", "add", f"{address}/24", "dev", "down2")
        for address in SNAT_ADDRESSES:
            run("ip", "-n", balancer, "address", "add", f"{address}/24", "dev", "up2")
        run("ip", "-n", balancer, "address", "add", f"{SERVICE_ADDRESS}/32", "dev", "lo")
        run("ip", "-n", client, "route", "add", f"{SERVICE_ADDRESS}/32", "via", "198.18.1.1")
        run("ip", "-n", client, "route", "add", "local", CLIENTS, "dev", "lo")
        run("ip", "-n", balancer, "route", "add", CLIENTS, "via", "198.18.1.2")
        run("ip", "-n", server, "route", "add", CLIENTS, "via", "198.18.2.1")
        run("ip", "-n", server, "rule", "add", "from", DIRECT_SERVER, "lookup", DIRECT_TABLE)
        run("ip", "-n", server, "route", "add", CLIENTS, "via", "198.18.3.1", "table", DIRECT_TABLE)
        responder = stack.enter_context(
            running(server, LOAD_CORE, [str(directory / "responder")], log=directory / "responder.log", pipes=True)
        )
        responder.read_line(timeout_s=5)
        yield Testbed(client, balancer, server, directory)


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        _write_sysctls(name)
        yield
    finally:
        run("ip", "netns", "del", name)


def _link(left: str, left_name: str, left_address: str, right: str, right_name: str, right_address: str) -> None:
    pair = ("type", "veth", "peer", "name", right_name, "netns", right)
    run("ip", "-n", left, "link", "add", left_name, *pair)
    for name, device, address in ((left, left_name, left_address), (right, right_name, right_address)):
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
        run("ip", "-n", name, "link", "set", device, "up")
        # As with network cards: redirected frames need NAPI where they arrive, and whole checksums.
        run("ip", "netns", "exec", name, "ethtool", "-K", device, "gro", "on", "tx", "off")


def _write_sysctls(namespace: str) -> None:
    settings = (
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
    )
    run("ip", "netns", "exec", namespace, "sysctl", "-qw", *settings)
