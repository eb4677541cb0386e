"""Looks for real servers that answer clients from an address or port where nobody asked them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice, product

import trio

from engine.deployment import Deployment
from engine.net.overhearing import Overhearing
from engine.sessions import invariants
from engine.sessions.flow import Port
from engine.sessions.real_server import RealServer
from engine.sessions.session import Session
from engine.telemetry.silence import LOOKED_AT

LOOK_EVERY_S = 5.0
OVERHEAR_S = 10.0
"""Clients that get no answer ask again within a few seconds."""


async def watch_past_return_path(deployment: Deployment) -> None:
    """Ask the kernel who answers clients of transparent services, while any of these waits, until cancelled."""
    while True:
        await trio.sleep(LOOK_EVERY_S)
        services = [service for service in deployment.services.values() if not service.is_snat]
        if not any(server.half_open for service in services for server in service.servers.values()):
            continue
        with suppress(OSError):  # no files or no memory for the question: it is asked again
            for service, (source, client) in product(services, await deployment.strangers()):
                for session in service.by_host.get(client, ()):
                    invariants.reply_from_elsewhere(session, source)


async def watch_past_sockets(
    unanswered: Callable[[RealServer], int], half_open: Callable[[], Iterable[Session]]
) -> None:
    """Overhear who answers clients of snat services, while a real server answers nobody, until cancelled.

    `unanswered` tells how many clients a real server leaves without any answer. Without the privilege to overhear
    nothing is noticed.
    """
    while True:
        await trio.sleep(LOOK_EVERY_S)
        waiting = [session for session in islice(half_open(), LOOKED_AT) if session.service.is_snat]
        servers = {session.server for session in waiting if unanswered(session.server)}
        if not servers:
            continue
        for host in {(":" in server.address): server.address for server in servers}.values():
            try:
                overhearing = Overhearing(host, {server.ports[Port.IKE] for server in servers})
            except OSError:
                continue
            with overhearing:
                await trio.sleep(OVERHEAR_S)
                _match(overhearing, islice(half_open(), LOOKED_AT), servers)


def _match(overhearing: Overhearing, half_open: Iterable[Session], servers: set[RealServer]) -> None:
    waiting = {
        flow.source[1]: session
        for session in half_open
        if session.server in servers
        for flow in session.flows
        if flow.source is not None and flow.port is Port.IKE
    }
    for source, source_port, port in overhearing.heard():
        session = waiting.get(port)
        if session is not None and (source, source_port) != session.server.endpoint(Port.IKE):
            invariants.reply_from_elsewhere(session, source)
