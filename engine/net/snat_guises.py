"""Snat flows without sockets: while the kernel hands what is sent to their ports to one socket."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engine.net import sockets
from engine.net.catch_all import CatchAll
from engine.net.forwarder import Forwarder
from engine.net.pump import Pump

LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT: Final = 8192
"""Below are the ports of many daemons."""
FEWEST_PORTS: Final = 4096
CHANGED_AT_ONCE: Final = 100


class SnatGuises:
    """Sees to it that snat flows need no sockets, while this is open."""

    def __init__(self, pump: Pump, forwarder: Forwarder) -> None:
        self.ports = spare_ports()
        """The ports that flows have: the kernel gives them to no socket that does not ask for one of them."""
        self._pump = pump
        self._forwarder = forwarder
        self._catch_alls: dict[socket.AddressFamily, CatchAll] = {}

    def open(self) -> Mapping[socket.AddressFamily, socket.socket]:
        """The sockets that are to get what is sent to the flows, for each address family that this machine has."""
        for family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                # It belongs to no service: of a flow that is no more, nobody can tell whose it was.
                self._catch_alls[family] = CatchAll(family, {}, self._forwarder)
        for catch_all in self._catch_alls.values():
            self._pump.watch(catch_all.socket.fileno(), catch_all.drain)
        return {family: catch_all.socket for family, catch_all in self._catch_alls.items()}

    def allow(self, sources: Collection[str], endpoints: Collection[tuple[str, int]]) -> None:
        """Let flows from these addresses to these (address, UDP port) go without sockets, and no others from now on.

        Raises:
            OSError: it cannot be told whether the addresses are this machine's; what was allowed before still is.
        """
        usable = [host for host in sources if sockets.family_of(host) in self._catch_alls and sockets.is_local(host)]
        self._forwarder.upstreams.spare(usable, endpoints, self.ports)

    def give_sockets(self) -> Iterator[int]:
        """Give flows sockets with the ports that they have, some of them each turn; yields how many those were."""
        flows = [flow for flow in self._forwarder.upstreams.disguised.values() if flow.service.is_snat]
        while flows:
            some = flows[-CHANGED_AT_ONCE:]
            del flows[-CHANGED_AT_ONCE:]
            for flow in some:
                with suppress(OSError):
                    self._forwarder.upstreams.give_socket(flow)
            yield len(some)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for catch_all in self._catch_alls.values():
            self._pump.forget(catch_all.socket.fileno())
            catch_all.socket.close()
        self._catch_alls.clear()


def spare_ports() -> range:
    """The longer stretch beside the ports that the kernel chooses from for sockets; empty where both are short."""
    first, last = map(int, LOCAL_PORTS.read_text().split())
    longest = max(range(LOWEST_PORT, first), range(last + 1, 1 << 16), key=len)
    return longest if len(longest) >= FEWEST_PORTS else range(0)
