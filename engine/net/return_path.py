"""The way back of transparent services: the catch-all sockets, and the kernel's plumbing kept in step with them."""

from __future__ import annotations

from collections.abc import Iterable
from socket import AddressFamily
from typing import Any

import trio

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
        self._listing: list[dict[str, Any]] = []
        """The nftables table as the kernel shows it when nobody has touched it."""
        self._one_at_a_time = trio.Lock()
        self.opened = trio.Event()
        """Set for good when it is opened first."""

    async def follow(self, endpoints: Iterable[transparent.Endpoint]) -> None:
        """Bring back what these real servers send; none: close the return path.

        Raises:
            transparent.PlumbingError: the kernel refuses; what was in force before still is.
        """
        wanted = frozenset(endpoints)
        async with self._one_at_a_time:
            if wanted == self._endpoints:
                return
            if not wanted:
                await self._close()
                return
            try:
                for family in {family_of(address) for address, _ in wanted} - self._catch_alls.keys():
                    await self._open(family)
                await self._update(wanted)
            except transparent.PlumbingError:
                if not self._endpoints:
                    await self._clear()
                raise
            self._endpoints = wanted
            self.opened.set()

    async def restore(self) -> list[transparent.Part]:
        """Put back what somebody else has taken away; says what it was.

        Raises:
            transparent.PlumbingError: the kernel refuses.
        """
        async with self._one_at_a_time:
            if not self._endpoints:
                return []
            gone: list[transparent.Part] = []
            for family in self._catch_alls:
                if missing := await transparent.missing(family):
                    await transparent.install(family)
                    gone += missing
            listing = await transparent.listing()
            if not listing or listing != self._listing:
                await self._update(self._endpoints)
                gone.append(transparent.Part.TABLE)
            return list(dict.fromkeys(gone))

    async def strangers(self) -> list[tuple[str, str]]:
        """Who sent IKE past it lately: source and destination addresses."""
        return [pair for family in self._catch_alls for pair in await transparent.strangers(family)]

    async def close(self) -> None:
        """Take sockets and plumbing away."""
        async with self._one_at_a_time:
            await self._close()

    async def _close(self) -> None:
        if self._catch_alls:
            await self._clear()
        self._endpoints = frozenset()

    async def _update(self, endpoints: frozenset[transparent.Endpoint]) -> None:
        await transparent.update(endpoints, {family: c.port for family, c in self._catch_alls.items()})
        self._listing = await transparent.listing()

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
