"""What is compared: each forwarder sends the same clients' packets on, from the balancer's namespace on one core."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.config.schema import FastPath, Source

from ..load import generator
from ..peers import nginx, ours
from ..processes import Process, run
from ..testbed import REAL_SERVERS, SERVICE_ADDRESS
from .flows import Direction, Flows, client_flows
from .traffic import Traffic

TUNNELS_AT_ONCE = 64
INSTALLED_WITHIN_S = 60
RESTS_BELOW, RESTS_FOR_S, RESTS_WITHIN_S = 0.1, 3, 60
"""Of a core: setting tunnels up takes all of it, and their books and journal go on for some seconds."""
CONNTRACK_TIMEOUTS = ("net.netfilter.nf_conntrack_udp_timeout=600", "net.netfilter.nf_conntrack_udp_timeout_stream=600")
NFTABLES_RULES = f"""\
table ip bench {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {SERVICE_ADDRESS} udp dport {{ 500, 4500 }} dnat to jhash ip saddr mod {len(REAL_SERVERS)} seed 0x1ce \
map {{ {", ".join(f"{number} : {address}" for number, address in enumerate(REAL_SERVERS))} }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """A forwarder that knows its clients: their flows, and its process if it is one."""

    flows: dict[Direction, Flows]
    process: Process | None = None

    @property
    def pid(self) -> int:
        """Of its process; 0 without one."""
        return self.process.child.pid if self.process else 0


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Something that forwards."""

    name: str
    forwarding: Callable[[Traffic, int], AbstractContextManager[Ready]]
    most_clients: int = 1 << 20


@contextmanager
def _nothing(traffic: Traffic, clients: int) -> Iterator[Ready]:
    with traffic.redirecting():
        flows = _learned(traffic, client_flows(clients, SERVICE_ADDRESS))
    with traffic.dropping():
        yield Ready(flows)


@contextmanager
def _bare_redirect(traffic: Traffic, clients: int) -> Iterator[Ready]:
    with traffic.redirecting():
        yield Ready(_learned(traffic, client_flows(clients, SERVICE_ADDRESS)))


@contextmanager
def _routing(traffic: Traffic, clients: int) -> Iterator[Ready]:
    yield Ready(_learned(traffic, client_flows(clients, *REAL_SERVERS)))


@contextmanager
def _nftables(traffic: Traffic, clients: int) -> Iterator[Ready]:
    inside = ("ip", "netns", "exec", traffic.network.bed.balancer)
    run(*inside, "nft", "-f", "-", stdin=NFTABLES_RULES)
    try:
        # A flow must not expire between its packets.
        run(*inside, "sysctl", "-qw", *CONNTRACK_TIMEOUTS)
        yield Ready(_learned(traffic, client_flows(clients, SERVICE_ADDRESS)))
    finally:
        run(*inside, "nft", "delete table ip bench")


@contextmanager
def _nginx(traffic: Traffic, clients: int) -> Iterator[Ready]:
    with nginx.TUNED.forwarding(traffic.network.bed, Source.SNAT) as process:
        yield Ready(_learned(traffic, client_flows(clients, SERVICE_ADDRESS)), process)


@contextmanager
def _ours(traffic: Traffic, clients: int) -> Iterator[Ready]:
    bed = traffic.network.bed
    configuration = ours.write_configuration(bed, Source.TRANSPARENT, FastPath.NATIVE)
    with ours.running_with(bed, configuration) as process:
        with generator(bed, SERVICE_ADDRESS) as load:
            tunnels = load.establish(clients, TUNNELS_AT_ONCE, first_port=4500)
        if tunnels.failed:
            raise RuntimeError(f"{tunnels.failed} of {clients} tunnels did not come up: nothing to measure")
        await_kernel_flows(configuration, clients)
        flows = _learned(traffic, client_flows(clients, SERVICE_ADDRESS))
        process.await_rest(RESTS_BELOW, RESTS_FOR_S, RESTS_WITHIN_S)
        yield Ready(flows, process)


GENERATOR_ALONE = Forwarder("generator alone", _nothing)
OURS = Forwarder("ours", _ours)
BARE_REDIRECT = Forwarder("bare redirect", _bare_redirect)
ROUTING = Forwarder("routing", _routing)
NFTABLES = Forwarder("nftables", _nftables)
# More clients than it may have open files cannot be had.
NGINX = Forwarder("nginx", _nginx, most_clients=10_000)
FORWARDERS = (GENERATOR_ALONE, BARE_REDIRECT, OURS, ROUTING, NFTABLES, NGINX)


class _Kernel(msgspec.Struct, frozen=True):
    flows: int


class _Status(msgspec.Struct, frozen=True):
    fast_path: str
    fast_path_reason: str
    kernel: _Kernel


def await_kernel_flows(configuration: Path, flows: int) -> None:
    """Return once the engine has flows in the kernel, but for one in a thousand; raises RuntimeError when not in time.

    Those few may find their places in the kernel's table taken, and stay on the slow path.
    """
    command = [sys.executable, "-m", "ikeconsole", "status", "--json", "-c", str(configuration)]
    deadline_s = time.monotonic() + INSTALLED_WITHIN_S
    while True:
        told = subprocess.run(command, cwd=ours.REPOSITORY, capture_output=True, check=True).stdout
        status = msgspec.json.decode(told, type=_Status)
        if status.kernel.flows >= flows - flows // 1_000:
            return
        if time.monotonic() > deadline_s:
            raise RuntimeError(
                f"{status.kernel.flows} of {flows} flows are in the kernel after {INSTALLED_WITHIN_S} s; "
                f"fast path {status.fast_path} {status.fast_path_reason}"
            )
        time.sleep(0.5)


def _learned(traffic: Traffic, flows: Flows) -> dict[Direction, Flows]:
    return {Direction.TO_SERVER: flows, Direction.TO_CLIENT: traffic.learn(flows)}
