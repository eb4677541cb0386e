"""The return path of transparent services, tried for real: a probe with the address of a client as its source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from socket import SOCK_DGRAM, socket
from typing import Final

import trio

from engine.advise.routes import Route
from engine.config.schema import Config, RealServer, Service, Source
from engine.config.validate import server_ports
from engine.doctor.commands import CommandError, Denied
from engine.doctor.detour import detour
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import place, servers_in_use
from engine.doctor.network import LOOPBACK, Network
from engine.doctor.probes import AT_ONCE, Answers, ask
from engine.net.sockets import family_of, make_transparent

_TOPIC: Final = Topic("real servers", "return-path")


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it for one real server."""

    came_back: bool
    reason: str = ""
    """What the probe said; or why it was not made."""
    untried: bool = False


async def try_return_path(
    config: Config, answers: Mapping[str, Answers], network: Network, covered: Collection[str]
) -> dict[str, Tried]:
    """Ask every transparent real server that answers probes, by its place.

    `covered` are the addresses of those whose answers a running engine brings back; others get a detour for a moment.
    """
    tried: dict[str, Tried] = {}
    askable: defaultdict[tuple[int, bool], list[tuple[Service, RealServer]]] = defaultdict(list)
    for service, server in servers_in_use(config):
        if service.source is not Source.TRANSPARENT:
            continue
        address, client = str(server.address), network.client[server.address.version]
        if not answers[place(service, server)].ike.ok:
            tried[place(service, server)] = Tried(False, "it answers no probe at all", untried=True)
        elif (way := network.to_servers.get(address)) and way.device == LOOPBACK:
            tried[place(service, server)] = Tried(False, "it is on this machine", untried=True)
        elif network.device_with(client):
            tried[place(service, server)] = Tried(False, f"{client} is no client's, but this machine's", untried=True)
        else:
            askable[server.address.version, address in covered].append((service, server))
    for (version, by_engine), servers in askable.items():
        try:
            tried |= await _ask_all(servers, network.client[version], by_engine)
        except (CommandError, OSError) as error:
            why = "needs root" if isinstance(error, Denied | PermissionError) else str(error)
            tried |= {place(*one): Tried(False, why, untried=True) for one in servers}
    return tried


def judge_return_path(config: Config, tried: Mapping[str, Tried], network: Network) -> Iterator[Diagnosis]:
    """Whether answers to clients come back through this machine."""
    for service, server in servers_in_use(config):
        subject = place(service, server)
        if (found := tried.get(subject)) is None:
            continue
        client = network.client[service.address.version]
        way = network.to_servers.get(str(server.address))
        if found.untried:
            what = f"whether the answers of {server.name} to clients come back"
            yield _TOPIC.unchecked(what, subject, why=found.reason)
        elif found.came_back:
            yield _TOPIC.ok(f"it answered the client {client} through this machine: {found.reason}", subject)
        else:
            remedy, command = _remedy(subject, server, way)
            yield _TOPIC.fail(
                f"it answers this machine, but its answer to the client {client} did not come back here "
                f"({found.reason}): no tunnel comes up",
                subject,
                remedy=remedy,
                command=command,
            )


async def _ask_all(servers: list[tuple[Service, RealServer]], client: str, by_engine: bool) -> dict[str, Tried]:
    """Ask with the engine's rules, or else with some of one's own; raises CommandError, OSError."""
    with socket(family_of(client), SOCK_DGRAM) as trial:
        make_transparent(trial)
    if by_engine:
        return await _probe_as(servers, client)
    endpoints = {(str(server.address), server_ports(service, server)[0]) for service, server in servers}
    async with detour(endpoints, client):
        return await _probe_as(servers, client)


async def _probe_as(servers: list[tuple[Service, RealServer]], client: str) -> dict[str, Tried]:
    tried: dict[str, Tried] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(service: Service, server: RealServer) -> None:
        async with limit:
            result = await ask(service, server, server_ports(service, server)[0], client)
            tried[place(service, server)] = Tried(result.ok, result.reason)

    async with trio.open_nursery() as nursery:
        for service, server in servers:
            nursery.start_soon(one, service, server)
    return tried


def _remedy(subject: str, server: RealServer, way: Route | None) -> tuple[str, str]:
    """What to do at the real server or at its router, and the command for Linux there."""
    hint = f"`ikeconsole advise {subject}` has the commands for Windows and Linux"
    ip = "ip -6" if server.address.version == 6 else "ip"
    if way is None:
        return f"make this machine the default gateway of {server.name}; {hint}", ""
    if way.gateway:
        return (
            f"have the router {way.gateway} send to {way.source}, which is this machine, what {server.name} answers "
            f"to clients; {hint}",
            "",
        )
    return (
        f"on {server.name} make this machine, {way.source}, the default gateway, and see that firewalls there pass "
        f"clients' addresses; {hint}. On Linux, there:",
        f"{ip} route replace default via {way.source}",
    )
