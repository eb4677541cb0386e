"""What a fault costs tunnels that carry data meanwhile: packets, silence and sessions.

with under_load(lab, clients) as load:
    lab.balancer.stop(signal.SIGKILL)
    load.go_on()
    lab.balancer.start()
    outcome = load.outcome()
assert (outcome.lost, outcome.sessions_lost) == (0, 0)
report_fault("the engine is killed", "fast path, transparent", outcome)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from engine.control.calls import ListEvents, ListSessions
from engine.control.records import SessionQuery, SessionRow
from harness.lab import Lab
from harness.peers import Client, Ping
from harness.transfer import Transfer, transferring

PING_EVERY_S = 0.02
DATAGRAM_EVERY_S = 0.005
"""More would overflow charon's socket while a busy machine keeps it waiting, and look like a loss of the balancer's."""
DATAGRAM_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What clients and the engine say of a time in which something happened. A packet and its answer are one."""

    sent: int
    lost: int
    silence_s: float
    """The longest that a tunnel had no answer: what its user waited for. When all is well, the time between two."""
    sessions: int
    """Of the clients, before."""
    sessions_lost: int
    """Those that the engine knows no more, has on another real server, or has twice."""


class Load:
    """Data through tunnels: a ping through each, and bulk through some."""

    def __init__(self, lab: Lab, pings: Sequence[Ping], transfers: Sequence[Transfer], spis: frozenset[str]) -> None:
        self._lab = lab
        self._pings = pings
        self._transfers = transfers
        self._before = [row for row in _rows(lab) if row.spi_i in spis]
        assert {row.spi_i for row in self._before} == spis, f"the engine knows {self._before} of {spis}"

    def go_on(self, answers: int = 25, timeout_s: float = 10) -> None:
        """Wait until so many packets more are answered in every tunnel; half a second of pings, if nothing else."""
        for ping in self._pings:
            ping.await_answers(answers, timeout_s)
        for transfer in self._transfers:
            transfer.go_on(answers, timeout_s)

    def outcome(self, timeout_s: float = 10) -> Outcome:
        """End it, and say what was lost since it began; AssertionError when a tunnel has not come back in this time.

        The engine must be there to tell of sessions.
        """
        self.go_on(timeout_s=timeout_s)
        pinged = [ping.finish() for ping in self._pings]
        echoed = [back for _, back in (transfer.finish() for transfer in self._transfers)]
        after = _rows(self._lab)
        return Outcome(
            sent=sum(max(result.answered) for result in pinged) + sum(passed.sent for passed in echoed),
            lost=sum(len(result.gaps) for result in pinged) + sum(len(passed.lost) for passed in echoed),
            silence_s=max(result.silence_s for result in pinged),
            sessions=len(self._before),
            sessions_lost=sum(not goes_on(session, after) for session in self._before),
        )


@contextmanager
def under_load(lab: Lab, clients: Sequence[Client], *, bulk: int = 1) -> Iterator[Load]:
    """Have data go through the tunnels of clients; it ends with the context at the latest.

    Each has a ping every 20 ms, the first `bulk` of them 200 datagrams of 1,000 bytes a second each way besides.
    Everything passes when the context begins. Tunnels must neither be rekeyed nor set up anew: SPIs tell what is whose.
    """
    tunnels = {client.node.name: client.tunnel() for client in clients}
    spis = frozenset(tunnel.sa.initiator_spi for tunnel in tunnels.values())
    with ExitStack() as ending:
        pings, transfers = [], []
        for client in clients:
            pings.append(client.start_ping(PING_EVERY_S))
            ending.callback(pings[-1].abandon)
        for client in clients[:bulk]:
            server = lab.servers[tunnels[client.node.name].server]
            datagrams = transferring(client, server, every_s=DATAGRAM_EVERY_S, size_bytes=DATAGRAM_BYTES)
            transfers.append(ending.enter_context(datagrams))
        load = Load(lab, pings, transfers, spis)
        load.go_on()
        yield load


def event(lab: Lab, kind: str) -> str:
    """What the engine told last of this kind; AssertionError when it told nothing."""
    events = lab.balancer.ask(ListEvents(limit=200))
    told = [event.text for event in events if event.kind == kind]
    assert told, f"no {kind} among {[event.kind for event in events]}"
    return told[-1]


def _rows(lab: Lab) -> list[SessionRow]:
    return lab.balancer.ask(ListSessions(query=SessionQuery(limit=1000))).rows


def goes_on(session: SessionRow, after: Sequence[SessionRow]) -> bool:
    """Whether it is there once, on its real server; what only the kernel remembers has no SPI until it says a word."""
    same = [
        row.server for row in after if row.spi_i == session.spi_i or (not row.spi_i and row.client == session.client)
    ]
    return same == [session.server]
