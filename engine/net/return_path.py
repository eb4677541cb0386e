"""The way back of transparent services: the catch-all sockets, and the kernel's plumbing kept in step with them."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import trio

from engine.net import transparent
from engine.net.catch_all import CatchAll
from engine.net.forwarder import Forwarder
from engine.sessions.service import Service


class ReturnPath:
    """Open while any service is transparent."""

    def __init__(self, nursery: trio.Nursery, services: dict[str, Service], forwarder: Forwarder) -> None:
        self._nursery = nursery
        self._services = services
        self._forwarder = forwarder
        self._catch_alls: list[CatchAll] = []
        self._endpoints: frozenset[tuple[str, int]] = frozenset()

    async def follow(self, endpoints: Iterable[tuple[str, int]]) -> None:
        """Bring back what these real servers' (address, port) send; none: close the return path.

        Raises:
            transparent.PlumbingError: the kernel refuses; what was in force before still is.
        """
        wanted = frozenset(endpoints)
        if wanted == self._endpoints:
            return
        if not wanted:
            await self.close()
        elif self._catch_alls:
            await transparent.update(wanted, *self._ports())
        else:
            await self._open(wanted)
        self._endpoints = wanted

    async def close(self) -> None:
        """Take sockets and plumbing away."""
        if self._catch_alls:
            self._close_sockets()
            await transparent.remove()
        self._endpoints = frozenset()

    async def _open(self, endpoints: frozenset[tuple[str, int]]) -> None:
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                self._catch_alls.append(CatchAll(family, self._services, self._forwarder))
            await transparent.install(endpoints, *self._ports())
        except OSError as error:
            self._close_sockets()
            raise transparent.PlumbingError(
                f'source = "transparent" needs CAP_NET_ADMIN ({error.strerror}): run as root or set source = "snat"'
            ) from error
        except BaseException:
            self._close_sockets()
            raise
        for catch_all in self._catch_alls:
            self._nursery.start_soon(catch_all.serve)

    def _ports(self) -> tuple[int, int]:
        v4, v6 = self._catch_alls
        return v4.port, v6.port

    def _close_sockets(self) -> None:
        for catch_all in self._catch_alls:
            catch_all.close()
        self._catch_alls = []
