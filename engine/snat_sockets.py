"""Spares snat flows their sockets for as long as the kernel may bring them what is sent to their ports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from engine.config.fast_path import why_not_wanted
from engine.config.schema import Config
from engine.events import EventLog
from engine.sessions.service import Service

if TYPE_CHECKING:
    from engine.fastpath.answers import Answers
    from engine.net.snat_guises import SnatGuises

TRIED_AGAIN_S = 30.0
SOURCES_CHECKED_EVERY_S = 5.0
"""Whether they still are this machine's addresses."""


class SnatSockets:
    """Decides which snat flows need sockets; all do where the fast path is off, not installed or refused."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._config = Config()
        self._services: Mapping[str, Service] = {}
        self._changed = trio.Event()
        self._why_needed = ""
        self.guises: SnatGuises | None = None
        """Let flows go without sockets; None: every flow has one."""

    @property
    def spare_ports(self) -> range:
        """The ports that flows without sockets have."""
        return self.guises.ports if self.guises is not None else range(0)

    def follow(self, config: Config, services: Mapping[str, Service]) -> None:
        """Serve a configuration that was put in force."""
        self._config, self._services = config, services
        self._changed.set()

    async def run(self) -> None:
        """Spare what can be spared, until cancelled."""
        guises = self.guises
        if guises is None or not guises.ports:
            return
        while True:
            self._changed = trio.Event()
            patience_s = math.inf
            if self._sparing():
                try:
                    from engine.fastpath.answers import Answers
                    from engine.fastpath.errors import FastPathError
                except ImportError:
                    await _give_sockets(guises)
                    return
                try:
                    with guises, Answers(guises.open(), guises.ports) as answers:
                        await self._spare(guises, answers)
                except FastPathError as error:
                    if str(error) != self._why_needed:
                        self._why_needed = str(error)
                        self._events.add("notice", "snat-sockets", f"every snat flow needs a socket: {error}")
                    patience_s = TRIED_AGAIN_S
            await _give_sockets(guises)
            with trio.move_on_after(patience_s):
                await self._changed.wait()

    async def _spare(self, guises: SnatGuises, answers: Answers) -> None:
        try:
            while services := self._sparing():
                self._changed = trio.Event()
                sources = {address for service in services for address in service.snat_pool}
                servers = [server for service in services for server in service.servers.values()]
                endpoints = {(server.address, port) for server in servers for port in server.ports}
                with suppress(OSError):  # no files, for a while: it is tried again soon
                    guises.allow(sources if answers.follow(sources, endpoints) else (), endpoints)
                with trio.move_on_after(SOURCES_CHECKED_EVERY_S):
                    await self._changed.wait()
        finally:
            guises.allow((), ())

    def _sparing(self) -> list[Service]:
        """The services whose flows could go without sockets: with source addresses that the operator chose for them."""
        if why_not_wanted(self._config):
            return []
        return [service for service in self._services.values() if service.is_snat and service.snat_pool]


async def _give_sockets(guises: SnatGuises) -> None:
    for _ in guises.give_sockets():
        await trio.lowlevel.checkpoint()
