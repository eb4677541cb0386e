"""A topology with its servers running, its clients ready, and an engine to be started: what a test works in."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import socket_room, witness
from harness.balancer import Balancer
from harness.certificates import Authority
from harness.namespaces import MARK, existing
from harness.peers import Client, Server
from harness.plan import Addresses
from harness.topology import Shape, Topology, build

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Lab:
    """Clients, balancer and servers."""

    topology: Topology
    clients: Mapping[str, Client]
    servers: Mapping[str, Server]
    balancer: Balancer

    @property
    def peers(self) -> list[Client | Server]:
        """Everyone who runs an IKE daemon."""
        return [*self.clients.values(), *self.servers.values()]

    @property
    def vip(self) -> Addresses:
        """The service's address."""
        return self.topology.vip

    def watch(self) -> None:
        """Let the servers' and the clients' kernels note what arrives from now on."""
        for peer in self.peers:
            witness.install(peer.node.namespace)

    def seen_by(self, name: str) -> witness.Seen:
        """What arrived at a machine since `watch`."""
        return witness.hear(self.topology.nodes[name].namespace)

    def servers_that_saw(self, *spis: str) -> set[str]:
        """The servers at which packets with any of these IKE or ESP SPIs arrived since `watch`."""
        return {name for name in self.servers if any(map(self.seen_by(name).has, spis))}

    def tidy(self) -> None:
        """Close all tunnels at both ends and let the engine forget them, for the next test."""
        for peer in self.peers:
            peer.charon.close_all()
        if self.balancer.running:
            self.balancer.forget_clients()

    def turned_away(self) -> Mapping[str, int]:
        """How many datagrams found no room in a socket, by machine, for the report of a failed test."""
        return {name: socket_room.turned_away(node.namespace) for name, node in self.topology.nodes.items()}

    def logs(self) -> Mapping[str, Path]:
        """The daemons' logs, for the report of a failed test."""
        return {"engine": self.balancer.log, **{peer.node.name: peer.charon.log for peer in self.peers}}


@contextmanager
def open_lab(
    directory: Path,
    authority: Authority,
    shape: Shape = Shape.TWO_ARM,
    *,
    clients: int = 3,
    nat_clients: int = 0,
    servers: int = 3,
) -> Iterator[Lab]:
    """Build a lab; whatever happens, nothing of it is left afterwards."""
    prefix = f"{MARK}-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as cleanup:
        cleanup.callback(_destroy, f"{prefix}-")
        topology = build(prefix, shape, clients=clients, nat_clients=nat_clients, servers=servers)
        nodes = topology.nodes
        names = [f"c{n + 1}" for n in range(clients)] + [f"n{n + 1}" for n in range(nat_clients)]
        lab = Lab(
            topology,
            {name: Client(nodes[name], directory / name, authority) for name in names},
            {f"rs{n}": Server(nodes[f"rs{n}"], n, directory / f"rs{n}", authority) for n in range(1, servers + 1)},
            Balancer(nodes["lb"], directory / "lb"),
        )
        for peer in lab.peers:
            cleanup.callback(peer.charon.kill)
            peer.charon.launch()
        for peer in lab.peers:
            peer.charon.await_ready()
        for server in lab.servers.values():
            server.configure()
        cleanup.callback(lab.balancer.close)
        yield lab


def _destroy(prefix: str) -> None:
    for namespace in existing(prefix):
        namespace.destroy()
