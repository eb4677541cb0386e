"""The routes to real servers and to clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.config.schema import Config, Source
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import place, servers_in_use
from engine.doctor.network import LOOPBACK, Network

_SERVER: Final = Topic("real servers", "route")
_CLIENT: Final = Topic("network", "route-to-clients")


def judge_routes_to_servers(config: Config, network: Network) -> Iterator[Diagnosis]:
    """How each real server is reached, and what it sees as source."""
    for service, server in servers_in_use(config):
        subject, address = place(service, server), str(server.address)
        way = network.to_servers.get(address)
        if way is None:
            yield _SERVER.fail(
                f"there is no route to {address}: its clients get no answer",
                subject,
                remedy="give the machine a route there, with the gateway and device of your network",
                command=f"ip route add {address} via GATEWAY dev DEVICE",
            )
            continue
        through = f" through {way.gateway}" if way.gateway else ""
        if service.source is Source.SNAT:
            seen = "an address of snat_addresses" if service.snat_addresses else way.source
            yield _SERVER.ok(f"{address} by {way.device}{through}; it sees clients as {seen}", subject)
        elif way.device == LOOPBACK:
            yield _SERVER.warn(
                f"{address} is on this machine, so its answers to clients do not pass the return path",
                subject,
                remedy=f'let the real server run elsewhere, or set source = "snat" in {service.name}',
            )
        else:
            back = f"its answers to clients must come back here, to {way.source}"
            yield _SERVER.ok(f"{address} by {way.device}{through}; {back}", subject)


def judge_routes_to_clients(config: Config, network: Network) -> Iterator[Diagnosis]:
    """How answers leave for clients, and whether by the device that clients come in by."""
    for service in config.services:
        address = str(service.address)
        held = network.device_with(address)
        if held is None or service.address.is_loopback():
            continue
        client, way = network.client[service.address.version], network.to_clients.get(address)
        if way is None:
            yield _CLIENT.warn(
                f"there is no route to {client}: only clients on this machine's own networks get answers",
                service.name,
                remedy="give the machine a default route",
                command=f"ip {'-6 ' if service.address.version == 6 else ''}route add default via GATEWAY",
            )
        elif way.device != held.name and held.name != LOOPBACK:
            yield _CLIENT.warn(
                f"answers to clients such as {client} leave by {way.device}, while {address} is on {held.name}: "
                "firewalls that see one direction only may drop them, and rp_filter must not be strict",
                service.name,
                remedy=f"have the default route leave by {held.name}, or move {address}",
            )
        else:
            yield _CLIENT.ok(f"answers to clients such as {client} leave by {way.device}", service.name)
