"""IKE_SA_INIT requests from forged addresses, made in the kernel: how much they leave of a forwarder's core."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from engine.fastpath.bpf import Map, Object, Program
from engine.wire.algorithms import TransformType
from engine.wire.build import build_message, ke_payload, nonce_payload, sa_payload
from engine.wire.proposals import Proposal, Transform

from ..processes import LOAD_CORE, run
from ..testbed import SERVICE_ADDRESS
from .namespaces import inside, working
from .network import Network
from .traffic import built

SOURCE = Path(__file__).with_name("flood.bpf.c")
TURN_S = 0.1
"""The packets of so long are made at once: to begin anew takes the kernel some hundredths of a second."""
SOURCES = "100.96.0.0/11"
"""Where they claim to come from: of the clients' network, and beyond the last client."""
IKE_PORT, CLIENT_PORT = 500, 500
_X25519 = 31
_OFFER = Proposal(
    number=1,
    transforms=(
        Transform(TransformType.ENCRYPTION, 20, key_bits=128),
        Transform(TransformType.PRF, 5),
        Transform(TransformType.KEY_EXCHANGE, _X25519),
    ),
)
_FRAME_BYTES = 192
_HEADERS_BYTES = 42
_ORDER = Struct(f"={_FRAME_BYTES}sIIQ")
_MADE = Struct(f"={_FRAME_BYTES + 8}xQ")


@dataclass(frozen=True, slots=True)
class Flooder:
    """The loaded program, at the clients' end of a network."""

    network: Network
    program: Program
    orders: Map

    @contextmanager
    def flooding(self, per_s: int) -> Iterator[None]:
        """Flood the service on the core that no forwarder has, at this rate at most, until the block ends."""
        frame, checksum_part = _frame(self.network)
        own = self.network.client.index
        with self.orders.mmap() as orders:
            orders[: _ORDER.size] = _ORDER.pack(frame, checksum_part, own, 0)

        def send() -> None:
            while True:
                start_s = time.monotonic()
                self.program.run_live(frame, repeat=round(per_s * TURN_S), ingress_ifindex=own)
                time.sleep(max(0.0, TURN_S - (time.monotonic() - start_s)))

        with working(self.network.bed.client, LOAD_CORE, send):
            yield

    def made(self) -> int:
        """How many packets were made since the flood began."""
        with self.orders.mmap() as orders:
            (made,) = _MADE.unpack_from(orders)
        return int(made)


@contextmanager
def flooder(network: Network) -> Iterator[Flooder]:
    """Build and load the program; what is answered to forged addresses is lost at the clients' end."""
    ignored = ("blackhole", SOURCES, "table", "local")
    run("ip", "-n", network.bed.client, "route", "add", *ignored)
    with Object.open(built(SOURCE, network.bed.directory)) as loaded, inside(network.bed.client):
        loaded.load()
        yield Flooder(network, loaded.program("flood"), loaded.map("assaults"))
    run("ip", "-n", network.bed.client, "route", "del", *ignored)


def _frame(network: Network) -> tuple[bytes, int]:
    """A frame without source address, and what its IP header sums up to."""
    headers = [sa_payload(_OFFER), ke_payload(_X25519, bytes(32))]
    nonce_bytes = _FRAME_BYTES - _HEADERS_BYTES - len(build_message([*headers, nonce_payload(b"")], spi_i=1))
    message = build_message([*headers, nonce_payload(bytes(nonce_bytes))], spi_i=1)
    link = bytes.fromhex((network.clients_side.mac + network.client.mac).replace(":", "")) + b"\x08\x00"
    address = socket.inet_aton(SERVICE_ADDRESS)
    fields = (0x45, 0, _FRAME_BYTES - len(link), 0, 0, 64, socket.IPPROTO_UDP, 0, bytes(4), address)
    ip = Struct(">BBHHHBBH4s4s").pack(*fields)
    udp = Struct(">HHHH").pack(CLIENT_PORT, IKE_PORT, 8 + len(message), 0)
    return link + ip + udp + message, sum(Struct("=10H").unpack(ip))
