"""A flood of IKE_SA_INIT requests from forged addresses, each of which a real server would take seriously."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.wire.algorithms import TransformType
from engine.wire.build import build_message, ke_payload, nonce_payload, sa_payload
from engine.wire.proposals import Proposal, Transform
from harness.namespaces import end, run
from harness.topology import Node

SOURCES = "100.64.0.0/10"
"""The forged addresses are of this network."""
_SOURCE = Path(__file__).with_name("flood.c")
_X25519, _KEY_BYTES = 31, 32
# What the servers of the harness would choose.
_OFFER = Proposal(
    number=1,
    transforms=(
        Transform(TransformType.ENCRYPTION, 20, key_bits=128),
        Transform(TransformType.PRF, 5),
        Transform(TransformType.KEY_EXCHANGE, _X25519),
    ),
)


class Flood:
    """A flood that is on."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def stop(self) -> int:
        """Send no more; how many were sent."""
        end(self._process, signal.SIGTERM)
        return int(self._log.read_text())


@contextmanager
def flooding(node: Node, address: str, directory: Path, *, per_s: int) -> Iterator[Flood]:
    """Flood a service from a machine until the block ends."""
    program, message, log = directory / "flood", directory / "flood.bin", directory / "flood.log"
    run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(_SOURCE)])
    key, nonce = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES)
    message.write_bytes(build_message([sa_payload(_OFFER), ke_payload(_X25519, key), nonce_payload(nonce)], spi_i=1))
    command = f'exec "{program}" {address} {per_s} < "{message}"'
    log.unlink(missing_ok=True)
    process = node.namespace.spawn("sh", "-c", command, log=log)
    try:
        yield Flood(process, log)
    finally:
        end(process, signal.SIGKILL)
