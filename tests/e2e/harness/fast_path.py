"""Whether data of tunnels passes the balancer in the kernel, by witnesses that know nothing of each other."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from engine.control.records import SessionRow, Traffic
from harness import witness
from harness.balancer import Table
from harness.lab import Lab
from harness.peers import Client
from harness.transfer import transferring
from harness.waiting import eventually

DATAGRAMS = 300
COUNTED_WITHIN_S = 1.3
"""The engine reads the kernel's counters every second."""
_MAX_SESSIONS = 50
"""Few, because the kernel's tables are read as a whole."""


def fast_path(setting: str = "auto", **keys: Any) -> Table:
    """The `engine` table of a configuration; `keys` go into it as well."""
    return {"engine": {"fast_path": setting, "max_sessions": _MAX_SESSIONS, **keys}}


def session_of(lab: Lab, client: Client) -> SessionRow:
    """The engine's one session with a client's present SPIs."""
    (row,) = lab.balancer.sessions("--spi", client.tunnel().sa.initiator_spi)
    return row


def await_fast(lab: Lab, client: Client, timeout_s: float = 6) -> None:
    """Send data through a tunnel until all of it passes in the kernel."""
    balancer = lab.balancer.node.namespace
    spis = _esp_spis(client)

    def passes() -> bool:
        witness.install(balancer)
        return len(client.ping(3).answered) == 3 and not any(map(witness.hear(balancer).has, spis))

    eventually(passes, f"the data of {client.node.name} takes the fast path", timeout_s=timeout_s)


def check_fast(lab: Lab, *clients: Client) -> None:
    """Send data through tunnels: all arrives in order, none is seen by the kernel's stack, and the counters agree."""
    balancer = lab.balancer
    for client in clients:
        await_fast(lab, client)
    time.sleep(COUNTED_WITHIN_S)
    before = _Counted.read(lab, clients)
    witness.install(balancer.node.namespace)
    for client in clients:
        check_transfer(lab, client)
    seen = witness.hear(balancer.node.namespace)
    assert not [spi for client in clients for spi in _esp_spis(client) if seen.has(spi)]

    time.sleep(COUNTED_WITHIN_S)
    grown = _Counted.read(lab, clients).since(before)
    assert grown.by_kernel == grown.of_sessions == grown.of_servers >= 2 * DATAGRAMS * len(clients)
    assert {session_of(lab, client).path for client in clients} == {"fast"}


def check_transfer(lab: Lab, client: Client) -> None:
    """Send data through a tunnel and back: all arrives, once, and in order."""
    with transferring(client, lab.servers[client.tunnel().server]) as transfer:
        transfer.go_on(DATAGRAMS)
    for passed in transfer.finish():
        assert (passed.lost, passed.doubled, passed.furthest_behind) == ([], 0, 0)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Packets both ways, as those tell who count them."""

    by_kernel: int
    of_sessions: int
    of_servers: int

    @classmethod
    def read(cls, lab: Lab, clients: Iterable[Client]) -> Self:
        """What is counted by now."""
        status = lab.balancer.status()
        return cls(
            status.kernel.forwarded,
            sum(_both_ways(session_of(lab, client).traffic) for client in clients),
            sum(_both_ways(server.traffic) for service in status.services for server in service.servers),
        )

    def since(self, before: _Counted) -> _Counted:
        """What was counted since."""
        return _Counted(
            self.by_kernel - before.by_kernel,
            self.of_sessions - before.of_sessions,
            self.of_servers - before.of_servers,
        )


def _both_ways(traffic: Traffic) -> int:
    return traffic.packets_in + traffic.packets_out


def _esp_spis(client: Client) -> tuple[str, str]:
    child = client.tunnel().child
    return child.spi_in, child.spi_out
