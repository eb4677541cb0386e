"""The way back of transparent services: the catch-all sockets, and the kernel's plumbing kept in step with them."""

from __future__ import annotations

from collections.abc import Iterable
from socket import AddressFamily

from engine.net import transparent
from engine.net.catch_all import CatchAll
from engine.net.forwarder import Forwarder
from engine.net.pump import Pump
from engine.net.sockets import family_of
from engine.sessions.service import Service


class ReturnPath:
    """Open for the address families of the real servers of transparent services."""

    def __init__(self, pump: Pump, services: dict[str, Service], forwarder: Forwarder) -> None:
        self._pump = pump
        self._services = services
        self._forwarder = forwarder
        self._catch_alls: dict[AddressFamily, CatchAll] = {}
        self._endpoints: frozenset[transparent.Endpoint] = frozenset()

    async def follow(self, endpoints: Iterable[transparent.Endpoint]) -> None:
        """Bring back what these real servers send; none: close the return path.

        Raises:
            transparent.PlumbingError: the kernel refuses; what was in force before still is.
        """
        wanted = frozenset(endpoints)
        if wanted == self._endpoints:
            return
        if not wanted:
            await self.close()
            return
        try:
            for family in {family_of(address) for address, _ in wanted} - self._catch_alls.keys():
                await self._open(family)
            await transparent.update(wanted, {family: c.port for family, c in self._catch_alls.items()})
        except transparent.PlumbingError:
            if not self._endpoints:
                await self._clear()
            raise
        self._endpoints = wanted

    async def strangers(self) -> list[tuple[str, str]]:
        """Who sent IKE past it lately: source and destination addresses."""
        return [pair for family in self._catch_alls for pair in await transparent.strangers(family)]

    async def close(self) -> None:
        """Take sockets and plumbing away."""
        if self._catch_alls:
            await self._clear()
        self._endpoints = frozenset()

    async def _clear(self) -> None:
        for catch_all in self._catch_alls.values():
            self._pump.forget(catch_all.socket.fileno())
            catch_all.socket.close()
        self._catch_alls.clear()
        await transparent.remove()

    async def _open(self, family: AddressFamily) -> None:
        try:
            catch_all = CatchAll(family, self._services, self._forwarder)
        except OSError as error:
            raise transparent.PlumbingError(
                f'source = "transparent" needs CAP_NET_ADMIN ({error.strerror}): run as root or set source = "snat"'
            ) from error
        try:
            await transparent.install(family)
        except BaseException:
            catch_all.socket.close()
            raise
        self._catch_alls[family] = catch_all
        self._pump.watch(catch_all.socket.fileno(), catch_all.drain)
