"""Whether data of tunnels passes the balancer in the kernel, by witnesses that know nothing of each other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from engine.control.calls import ListSessions
from engine.control.records import SessionQuery, SessionRow
from engine.control.status import EngineStatus, Traffic
from harness import witness
from harness.balancer import Table, configuration
from harness.lab import Lab
from harness.peers import Client
from harness.transfer import transferring
from harness.waiting import eventually

DATAGRAMS = 100
_COUNTED_WITHIN_S = 1.3
"""The engine reads the kernel's counters every second."""
_MAX_SESSIONS = 50
"""Few, because the kernel's tables are read as a whole."""


def configure(lab: Lab, source: str, setting: str = "auto", **service_keys: Any) -> Table:
    """Put a configuration with this `fast_path` on disk; returns it."""
    engine = {"fast_path": setting, "max_sessions": _MAX_SESSIONS}
    config = configuration(lab.topology, source, **service_keys) | {"engine": engine}
    lab.balancer.write(config)
    return config


def start(
    lab: Lab, source: str, setting: str = "auto", *, under: Sequence[str] = (), **service_keys: Any
) -> EngineStatus:
    """Start the engine; its status when it knows what fast path it has."""
    configure(lab, source, setting, **service_keys)
    lab.balancer.start(*under)
    eventually(lambda: "is starting" not in lab.balancer.status().fast_path_reason, "the fast path is decided about")
    return lab.balancer.status()


def session_of(lab: Lab, client: Client) -> SessionRow:
    """The engine's one session with a client's present SPIs."""
    (row,) = lab.balancer.ask(ListSessions(query=SessionQuery(spi=client.tunnel().sa.initiator_spi))).rows
    return row


def await_fast(lab: Lab, client: Client, timeout_s: float = 6) -> None:
    """Send data through a tunnel until all of it passes in the kernel."""
    balancer = lab.balancer.node.namespace
    spis = _esp_spis(client)

    def passes() -> bool:
        witness.install(balancer)
        return len(client.ping(3).answered) == 3 and not any(map(witness.hear(balancer).has, spis))

    eventually(passes, f"the data of {client.node.name} takes the fast path", timeout_s=timeout_s)


def check_fast(lab: Lab, *clients: Client) -> int:
    """Send data through tunnels; all of it arrives in order, and the balancer's stack sees none. How many packets."""
    for client in clients:
        await_fast(lab, client)
    balancer = lab.balancer.node.namespace
    witness.install(balancer)
    packets = sum(check_transfer(lab, client) for client in clients)
    seen = witness.hear(balancer)
    assert not [spi for client in clients for spi in _esp_spis(client) if seen.has(spi)]
    return packets


def check_transfer(lab: Lab, client: Client) -> int:
    """Send data through a tunnel and back: all arrives, once, and in order. How many packets, both ways."""
    with transferring(client, lab.servers[client.tunnel().server]) as transfer:
        transfer.go_on(DATAGRAMS)
        there, back = transfer.finish()
    for passed in (there, back):
        assert (passed.lost, passed.doubled, passed.furthest_behind) == ([], 0, 0)
    return there.sent + back.sent


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets both ways, as those tell who count them."""

    by_kernel: int
    of_sessions: int
    of_servers: int

    @classmethod
    def read(cls, lab: Lab, clients: Iterable[Client]) -> Self:
        """What is counted once nothing is sent any more."""
        time.sleep(_COUNTED_WITHIN_S)
        status = lab.balancer.status()
        return cls(
            status.kernel.forwarded,
            sum(_both_ways(session_of(lab, client).traffic) for client in clients),
            sum(_both_ways(server.traffic) for service in status.services for server in service.servers),
        )

    def since(self, before: Counted) -> Counted:
        """What was counted since."""
        return Counted(
            self.by_kernel - before.by_kernel,
            self.of_sessions - before.of_sessions,
            self.of_servers - before.of_servers,
        )


def _both_ways(traffic: Traffic) -> int:
    return traffic.packets_in + traffic.packets_out


def _esp_spis(client: Client) -> tuple[str, str]:
    child = client.tunnel().child
    return child.spi_in, child.spi_out
