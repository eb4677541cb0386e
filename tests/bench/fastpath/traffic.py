"""Packets of many flows, made and counted in the kernel: how many a forwarder passes on, and for how much CPU."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from struct import Struct

from engine.fastpath.bpf import Map, Object, Program, XdpMode

from ..processes import FORWARDER_CORE
from .flows import TUPLE, Direction, Flows
from .namespaces import inside, working
from .network import Device, Network

SOURCE = Path(__file__).with_name("traffic.bpf.c")
INCLUDE = "/usr/include/x86_64-linux-gnu"
BATCH = 32
"""Packets that are made before anyone else has a turn: so many fit into a socket's buffer as it comes."""
LEARNED_WITHIN_S = 60

_HEADERS_BYTES = 56
_ORDER = Struct("=56sIIIIIxxxxQ")
_MADE = Struct("=80xQ")
_COUNT = Struct("=QQ")
_FIRST = bytes(4)
_ENDLESS = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Passed:
    """What was made and arrived within a time, and the nanoseconds of CPU that it took, that of making it included."""

    made: int
    arrived: int
    seconds: float
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """The loaded programs, between the two ends of a network."""

    network: Network
    generate: Program
    arrive: Program
    redirect: Program
    orders: Map
    tuples: Map
    answers: Map
    arrived: Map
    ways: Map

    def measure(
        self, direction: Direction, flows: Flows, size_bytes: int, *, warm_up_s: float, duration_s: float, pid: int = 0
    ) -> Passed:
        """Send as fast as the core can; the CPU time of a process counts too."""
        with self._sending(direction, flows, size_bytes) as sender:
            processes = [process for process in (sender, _softirq_thread(), pid) if process]
            time.sleep(warm_up_s)
            start_s, (made, arrived), cpu_ns = time.monotonic(), self._counted(), _cpu_ns(processes)
            time.sleep(duration_s)
            end_s, (made_by_end, arrived_by_end), cpu_ns_by_end = time.monotonic(), self._counted(), _cpu_ns(processes)
            return Passed(made_by_end - made, arrived_by_end - arrived, end_s - start_s, cpu_ns_by_end - cpu_ns)

    def learn(self, flows: Flows) -> Flows:
        """Send until every flow's packets have arrived at a server; the flows that servers answer in.

        Raises RuntimeError when some do not arrive in time.
        """
        size = flows.count * TUPLE.size
        deadline_s = time.monotonic() + LEARNED_WITHIN_S
        with self.answers.mmap() as answers:
            answers[:size] = bytes(size)
            with self._sending(Direction.TO_SERVER, flows, 200, learns=True):
                while missing := sum(not any(answers[at : at + 4]) for at in range(0, size, TUPLE.size)):
                    if time.monotonic() > deadline_s:
                        raise RuntimeError(f"packets of {missing} of {flows.count} flows do not arrive")
                    time.sleep(0.2)
            return Flows(flows.count, answers[:size])

    def redirecting(self) -> AbstractContextManager[None]:
        """Have the balancer's devices send everything on, whatever it is."""
        return self._attached_to_balancer(self.redirect)

    def dropping(self) -> AbstractContextManager[None]:
        """Count and drop at the balancer's devices already."""
        return self._attached_to_balancer(self.arrive)

    @contextmanager
    def _attached_to_balancer(self, program: Program) -> Iterator[None]:
        network = self.network
        with ExitStack() as stack:
            with inside(network.bed.balancer):
                for device in (network.clients_side, network.servers_side):
                    stack.callback(program.attach_xdp(device.index, XdpMode.NATIVE).close)
            yield

    def _counted(self) -> tuple[int, int]:
        """How many packets were made since the order was given, and how many have ever arrived."""
        with self.orders.mmap() as orders:
            (made,) = _MADE.unpack_from(orders)
        return made, sum(_COUNT.unpack(count)[0] for count in self.arrived.lookup_each_cpu(_FIRST))

    @contextmanager
    def _sending(self, direction: Direction, flows: Flows, size_bytes: int, *, learns: bool = False) -> Iterator[int]:
        network = self.network
        match direction:
            case Direction.TO_SERVER:
                namespace, own = network.bed.client, network.client
                entry, exit_ = network.clients_side, network.servers_side
            case Direction.TO_CLIENT:
                namespace, own = network.bed.server, network.server
                entry, exit_ = network.servers_side, network.clients_side
        with inside(network.bed.balancer):
            self.ways.update(_FIRST, exit_.index.to_bytes(4, "little"))
        frame, checksum_part = _frame(own, entry, size_bytes)
        order = _ORDER.pack(frame[:_HEADERS_BYTES], checksum_part, flows.count, 0, own.index, learns, 0)
        with self.orders.mmap() as orders, self.tuples.mmap() as tuples:
            tuples[: len(flows.packed)] = flows.packed
            orders[: len(order)] = order
        send = partial(self.generate.run_live, frame, repeat=_ENDLESS, ingress_ifindex=own.index, batch_size=BATCH)
        with working(namespace, FORWARDER_CORE, send) as sender:
            yield sender


def built(source: Path, directory: Path) -> Path:
    """A BPF source compiled into an object in a directory."""
    made = directory / f"{source.stem}.o"
    command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I", INCLUDE, "-c", str(source), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


@contextmanager
def traffic(network: Network) -> Iterator[Traffic]:
    """Build and load the programs, and count what arrives at both ends."""
    with ExitStack() as stack, Object.open(built(SOURCE, network.bed.directory)) as loaded:
        loaded.load()
        made = Traffic(
            network=network,
            generate=loaded.program("generate"),
            arrive=loaded.program("arrive"),
            redirect=loaded.program("redirect"),
            orders=loaded.map("orders"),
            tuples=loaded.map("tuples"),
            answers=loaded.map("answers"),
            arrived=loaded.map("arrived"),
            ways=loaded.map("ways"),
        )
        for namespace, device in ((network.bed.client, network.client), (network.bed.server, network.server)):
            with inside(namespace):
                stack.callback(made.arrive.attach_xdp(device.index, XdpMode.NATIVE).close)
        yield made


def _frame(own: Device, entry: Device, size_bytes: int) -> tuple[bytes, int]:
    """A frame without IP addresses and ports, and what its IP header sums up to."""
    link = bytes.fromhex((entry.mac + own.mac).replace(":", "")) + b"\x08\x00"
    ip = Struct(">BBHHHBBHII").pack(0x45, 0, 28 + size_bytes, 0, 0x4000, 64, socket.IPPROTO_UDP, 0, 0, 0)
    udp = Struct(">HHHH").pack(0, 0, 8 + size_bytes, 0)
    frame = link + ip + udp + bytes(size_bytes)
    return frame, sum(Struct("=10H").unpack(ip))


def _cpu_ns(processes: list[int]) -> int:
    return sum(int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) for process in processes)


def _softirq_thread() -> int:
    for name in Path("/proc").glob("[0-9]*/comm"):
        if name.read_text() == f"ksoftirqd/{FORWARDER_CORE}\n":
            return int(name.parent.name)
    raise RuntimeError(f"this machine has no ksoftirqd/{FORWARDER_CORE}")
