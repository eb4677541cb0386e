"""Packets of many flows, made and counted in the kernel: how many of them a forwarder passes on, and for how much CPU."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from struct import Struct

from engine.fastpath.bpf import Map, Object, Program, XdpMode

from ..processes import FORWARDER_CORE
from ..testbed import FIRST_CLIENT
from .network import Device, Network, enter, inside

SOURCE = Path(__file__).with_name("traffic.bpf.c")
NAT_T_PORT = 4500
SPI = 0xD0D0D0D0
TUPLE = Struct("=4s4s2s2sI")
_ORDER = Struct("=56sIIII4sI")
_COUNT = Struct("=QQ")
_FIRST = bytes(4)
_ENDLESS = (1 << 31) - 1
_LEAST_SHARE_ARRIVED = 0.99
HEADERS_BYTES = 14 + 20 + 8


class Direction(Enum):
    """Which way packets go."""

    TO_SERVER = "client to server"
    TO_CLIENT = "server to client"


@dataclass(frozen=True, slots=True)
class Passed:
    """What arrived within a time, and the nanoseconds of CPU that all work on the core took meanwhile."""

    packets: int
    seconds: float
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Flows:
    """The tuples of as many flows, as the packets of one direction have them where they are made."""

    count: int
    packed: bytes


def client_flows(count: int, destination: str) -> Flows:
    """The first clients' flows to an address; neighbours in the order of making are none in address."""
    first = int(IPv4Address(FIRST_CLIENT))
    numbers = list(range(count))
    Random(count).shuffle(numbers)
    to, port = IPv4Address(destination).packed, NAT_T_PORT.to_bytes(2, "big")
    packed = b"".join(TUPLE.pack((first + n).to_bytes(4, "big"), to, port, port, 0) for n in numbers)
    return Flows(count, packed)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The loaded programs, between the two ends of a network."""

    network: Network
    generate: Program
    redirect: Program
    orders: Map
    tuples: Map
    answers: Map
    arrived: Map
    ways: Map

    def measure(
        self, direction: Direction, flows: Flows, size_bytes: int, *, warm_up_s: float, duration_s: float, also: int = 0
    ) -> Passed:
        """Send as fast as the core can; `also` is a process whose CPU time counts too."""
        with self._sending(direction, flows, size_bytes, learns=False) as sender:
            processes = [pid for pid in (sender, also, _softirq_thread()) if pid]
            time.sleep(warm_up_s)
            before_ns, before, start_s = _cpu_ns(processes), self._arrived(), time.monotonic()
            time.sleep(duration_s)
            passed = self._arrived() - before
            return Passed(passed, time.monotonic() - start_s, _cpu_ns(processes) - before_ns)

    def learn(self, flows: Flows, timeout_s: float = 60) -> Flows:
        """Send until every flow's packets have arrived at a server: the flows of what servers answer.

        Raises RuntimeError when some do not arrive.
        """
        size = flows.count * TUPLE.size
        with self.answers.mmap() as answers:
            answers[:size] = bytes(size)
            deadline_s = time.monotonic() + timeout_s
            with self._sending(Direction.TO_SERVER, flows, 200, learns=True):
                while missing := sum(not any(answers[at : at + 4]) for at in range(0, size, TUPLE.size)):
                    if time.monotonic() > deadline_s:
                        raise RuntimeError(f"packets of {missing} of {flows.count} flows do not arrive")
                    time.sleep(0.2)
            return Flows(flows.count, answers[:size])

    @contextmanager
    def redirecting(self) -> Iterator[None]:
        """Have the balancer's devices send everything on, whatever it is."""
        network = self.network
        with ExitStack() as stack, inside(network.bed.balancer):
            for device in (network.clients_side, network.servers_side):
                stack.callback(self.redirect.attach_xdp(device.index, XdpMode.NATIVE).close)
            yield

    def _arrived(self) -> int:
        return sum(_COUNT.unpack(count)[0] for count in self.arrived.lookup_each_cpu(_FIRST))

    @contextmanager
    def _sending(self, direction: Direction, flows: Flows, size_bytes: int, *, learns: bool) -> Iterator[int]:
        network = self.network
        if direction is Direction.TO_SERVER:
            namespace, own, next_hop, out = (
                network.bed.client,
                network.client,
                network.clients_side,
                network.servers_side,
            )
        else:
            namespace, own, next_hop, out = (
                network.bed.server,
                network.server,
                network.servers_side,
                network.clients_side,
            )
        with inside(network.bed.balancer):
            self.ways.update(_FIRST, out.index.to_bytes(4, "little"))
        frame, checksum_part = _frame(own, next_hop, size_bytes)
        order = _ORDER.pack(frame[:56], checksum_part, flows.count, 0, own.index, SPI.to_bytes(4, "big"), learns)
        with self.orders.mmap() as orders, self.tuples.mmap() as tuples:
            tuples[: len(flows.packed)] = flows.packed
            orders[: len(order)] = order
        child = os.fork()
        if not child:
            self._send_forever(namespace, frame, own)
        try:
            yield child
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)

    def _send_forever(self, namespace: str, frame: bytes, device: Device) -> None:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            enter(namespace)
            os.sched_setaffinity(0, {FORWARDER_CORE})
            # Whoever else has work to do for these packets goes first: nothing is made that would only be dropped.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            self.generate.run_live(frame, repeat=_ENDLESS, ingress_ifindex=device.index, batch_size=BATCH)
        finally:
            os._exit(1)


BATCH = 32


@contextmanager
def traffic(network: Network) -> Iterator[Traffic]:
    """Build and load the programs, and count what arrives at both ends."""
    program = network.bed.directory / "traffic.bpf.o"
    include = "/usr/include/x86_64-linux-gnu"
    command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I", include, "-c", str(SOURCE), "-o", str(program)]
    subprocess.run(command, check=True)
    loaded = Object.open(program)
    with ExitStack() as stack:
        stack.callback(loaded.close)
        with inside(network.bed.balancer):
            loaded.load()
        arrive = loaded.program("arrive")
        for namespace, device in ((network.bed.client, network.client), (network.bed.server, network.server)):
            with inside(namespace):
                stack.callback(arrive.attach_xdp(device.index, XdpMode.NATIVE).close)
        maps = (loaded.map(name) for name in ("orders", "tuples", "answers", "arrived", "ways"))
        yield Traffic(network, loaded.program("generate"), loaded.program("redirect"), *maps)


def _frame(own: Device, next_hop: Device, size_bytes: int) -> tuple[bytes, int]:
    """A frame without addresses, and what its IP header sums up to."""
    link = bytes.fromhex((next_hop.mac + own.mac).replace(":", "")) + b"\x08\x00"
    ip = Struct(">BBHHHBBHII").pack(0x45, 0, 28 + size_bytes, 0, 0x4000, 64, socket.IPPROTO_UDP, 0, 0, 0)
    udp = Struct(">HHHH").pack(0, 0, 8 + size_bytes, 0)
    frame = link + ip + udp + SPI.to_bytes(4, "big") + bytes(size_bytes - 4)
    return frame, sum(Struct("=10H").unpack(ip))


def _cpu_ns(processes: list[int]) -> int:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in processes)


def _softirq_thread() -> int:
    for process in Path("/proc").glob("[0-9]*/comm"):
        if process.read_text() == f"ksoftirqd/{FORWARDER_CORE}\n":
            return int(process.parent.name)
    raise RuntimeError(f"no ksoftirqd/{FORWARDER_CORE}")
