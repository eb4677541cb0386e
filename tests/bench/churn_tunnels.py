"""Real VPN clients and servers in the midst of the simulated ones: tunnels in use all the time, rekeyed every minute.

One client for each kind of service and address family; one more goes past the services to a server of its own, through
the balancer's kernel alone: what its tunnel loses, the daemons lose themselves.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, product
from pathlib import Path
from threading import Event, Thread

from engine.config.schema import Source

# The network of the end-to-end tests, whose modules know each other by this name.
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from harness.certificates import Authority
from harness.lab import Lab as Lab
from harness.lab import open_lab
from harness.peers import Client, Ping, Profile, Server, Tunnel
from harness.plan import LAN, WAN, Family
from harness.requirements import missing
from harness.topology import device_in, give_addresses
from harness.vici import ViciError

DAEMON_TROUBLE = (AssertionError, ValueError, OSError, ViciError)
"""Something did not happen in time, an SA is not there, the daemon is not, or it refuses."""

KINDS = tuple(product(Source, Family))
SERVERS_BEHIND = 2
PAST_THE_SERVICES = "past the services"
FIRST_SERVICE_HOST = 12
"""Those before it are the simulated clients' services, and the harness's own."""
REAL_SERVERS = {
    family: tuple(LAN.host(10 + number)[family] for number in range(1, SERVERS_BEHIND + 1)) for family in Family
}
PING_EVERY_S = 0.1
REKEYED_EVERY_S = 60.0
CONNECTS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class TunnelCourse:
    """What became of one tunnel."""

    name: str
    rekeyed: int
    pings: int
    unanswered: int
    silence_s: float
    """The longest time between two answers."""
    faults: tuple[str, ...]
    """Why it is not the tunnel that it was, or was not rekeyed when asked to; empty: it is, and was."""


def lacking() -> list[str]:
    """What this machine must still have before there can be real tunnels; empty: all is there."""
    return missing()


def service_address(source: Source, family: Family) -> str:
    """Where a service for real clients is."""
    return WAN.host(FIRST_SERVICE_HOST + list(Source).index(source))[family]


def snat_addresses(lab: Lab, family: Family) -> list[str]:
    """The balancer's addresses that may stand for clients at the real servers."""
    return [addresses[family] for addresses in lab.topology.snat[1:]]


@contextmanager
def real_network(directory: Path) -> Iterator[Lab]:
    """Have clients and servers ready, and a balancer between them with the services' addresses; gone at the end."""
    authority = Authority(directory)
    with open_lab(directory / "lab", authority, clients=len(KINDS) + 1, servers=SERVERS_BEHIND + 1) as lab:
        addresses = tuple({family: service_address(source, family) for family in Family} for source in Source)
        give_addresses(lab.topology.nodes["lb"], WAN, device_in(WAN), addresses)
        lab.topology.take_redirected_frames()
        yield lab


@dataclass(slots=True)
class _Use:
    """A tunnel in use."""

    name: str
    client: Client
    server: Server
    at_first: Tunnel
    ping: Ping
    rekeyed: int = 0
    faults: list[str] = field(default_factory=list)


class RealTunnels:
    """The tunnels in use, from when this is entered until `end`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._uses: list[_Use] = []
        self._begun_s = time.monotonic()
        self._ending = Event()
        self._rekeying = Thread(target=self._rekey_in_turn)

    def __enter__(self) -> RealTunnels:
        clients = list(self._lab.clients.values())
        for (source, family), client in zip(KINDS, clients, strict=False):
            self._begin(f"{source}, {family}", client, service_address(source, family))
        past = self._lab.servers[f"rs{SERVERS_BEHIND + 1}"]
        self._begin(PAST_THE_SERVICES, clients[-1], past.node.addresses[Family.IPV4])
        self._rekeying.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_rekeying()
        for use in self._uses:
            use.ping.abandon()

    def end(self) -> list[TunnelCourse]:
        """Close all tunnels; what became of them until then."""
        self._stop_rekeying()
        courses = [self._judge(use) for use in self._uses]
        for use in self._uses:
            use.client.charon.close_all()
        return courses

    def _begin(self, name: str, client: Client, address: str) -> None:
        tunnel = client.connect(address, Profile.CERT, timeout_s=CONNECTS_WITHIN_S)
        client.await_data()
        ping = client.start_ping(PING_EVERY_S)
        self._uses.append(_Use(name, client, self._lab.servers[tunnel.server], tunnel, ping))

    def _rekey_in_turn(self) -> None:
        """Rekey one SA after another; each once a minute, every second time at the server's wish."""
        turns = cycle(product((True, False), ("child", "ike"), self._uses))
        pause_s = REKEYED_EVERY_S / (2 * len(self._uses))
        while not self._ending.wait(pause_s):
            by_client, what, use = next(turns)
            try:
                if by_client:
                    use.client.rekey(what)
                else:
                    before = use.client.tunnel()
                    use.server.rekey(use.client, what)
                    use.client.await_change(before, what)
                use.rekeyed += 1
            except DAEMON_TROUBLE as error:
                whose = "client" if by_client else "server"
                use.faults.append(f"at {time.monotonic() - self._begun_s:.0f} s, {what} SA, {whose}: {error}")

    def _stop_rekeying(self) -> None:
        self._ending.set()
        if self._rekeying.is_alive():
            self._rekeying.join()

    def _judge(self, use: _Use) -> TunnelCourse:
        try:
            now = use.client.tunnel()
            if now.virtual_address != use.at_first.virtual_address:
                use.faults.append(f"its address is {now.virtual_address}, and was {use.at_first.virtual_address}")
            use.client.await_data()
        except DAEMON_TROUBLE as error:
            use.faults.append(f"at the end: {error}")
        answers = use.ping.finish()
        return TunnelCourse(
            use.name,
            use.rekeyed,
            max(answers.answered, default=0),
            len(answers.gaps),
            answers.silence_s,
            tuple(use.faults),
        )
