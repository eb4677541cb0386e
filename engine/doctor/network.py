"""The devices and routes of this machine that services depend on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.advise.routes import Route, routes_to
from engine.config.schema import Config, Service
from engine.doctor import procfs
from engine.doctor.commands import CommandError, ask
from engine.doctor.needs import servers_in_use

LOOPBACK: Final = "lo"
CLIENT: Final = {4: "198.51.100.1", 6: "2001:db8::1"}
"""A client's address where none is named: of the documentation's networks, so nobody's (RFC 5737, RFC 3849)."""


@dataclass(frozen=True, slots=True)
class Device:
    """A network device; a setting is None where the kernel does not tell it."""

    name: str
    mtu_bytes: int = 1500
    addresses: tuple[str, ...] = ()
    rp_filter: int | None = 0
    """The sysctl that counts: the larger one of the device's and of `all` (ip-sysctl)."""
    src_valid_mark: int | None = 0
    forwards: Mapping[int, bool] = field(default_factory=lambda: {4: True, 6: True})
    """By IP version."""


@dataclass(frozen=True, slots=True)
class Network:
    """How packets come and go."""

    devices: Mapping[str, Device]
    to_servers: Mapping[str, Route]
    """By address; a real server without a route is not in it."""
    to_clients: Mapping[str, Route]
    """The way to a client from a service's address, by that."""
    client: Mapping[int, str] = field(default_factory=lambda: dict(CLIENT))
    """The client that ways are looked up to, by IP version."""
    failure: str = ""
    """Why nothing is known."""

    def device_with(self, address: str) -> Device | None:
        """The device that has an address."""
        return next((device for device in self.devices.values() if address in device.addresses), None)

    def on_the_way(self, config: Config) -> list[tuple[Device, int]]:
        """The devices that packets of services use, each with an IP version that they use it in; no loopback."""
        found: dict[tuple[str, int], Device] = {}
        for service in config.services:
            version = service.address.version
            for device in (self._towards_clients(service), *self._towards_servers(config, service)):
                if device is not None and device.name != LOOPBACK:
                    found[device.name, version] = device
        return [(device, version) for (_, version), device in found.items()]

    def _towards_clients(self, service: Service) -> Device | None:
        held = self.device_with(str(service.address))
        route = self.to_clients.get(str(service.address))
        if held is not None and held.name != LOOPBACK:
            return held
        return self.devices.get(route.device) if route and not service.address.is_loopback() else None

    def _towards_servers(self, config: Config, service: Service) -> Iterator[Device | None]:
        for owner, server in servers_in_use(config):
            if owner is service and (route := self.to_servers.get(str(server.address))):
                yield self.devices.get(route.device)


async def look_at_network(config: Config, client: Mapping[int, str]) -> Network:
    """Ask the kernel for devices and routes."""
    try:
        links = json.loads(await ask("ip", "-json", "address", "show"))
    except (CommandError, ValueError) as error:
        return Network({}, {}, {}, client, failure=str(error))
    devices = {device.name: device for device in map(_device, links)}
    to_clients: dict[str, Route] = {}
    for service in config.services:
        source = str(service.address)
        there = client[service.address.version]
        if way := (await routes_to([there], source)).get(there):
            to_clients[source] = way
    to_servers = await routes_to(str(server.address) for _, server in servers_in_use(config))
    return Network(devices, to_servers, to_clients, client)


def _device(link: Mapping[str, object]) -> Device:
    name = str(link["ifname"])
    held = link.get("addr_info")
    return Device(
        name=name,
        mtu_bytes=int(str(link.get("mtu", 0))),
        addresses=tuple(str(one["local"]) for one in held if "local" in one) if isinstance(held, list) else (),
        rp_filter=_effective("rp_filter", name),
        src_valid_mark=_effective("src_valid_mark", name),
        forwards={
            4: bool(procfs.sysctl(f"net/ipv4/conf/{name}/forwarding")),
            6: bool(procfs.sysctl(f"net/ipv6/conf/{name}/forwarding")),
        },
    )


def _effective(setting: str, name: str) -> int | None:
    values = (procfs.sysctl(f"net/ipv4/conf/{where}/{setting}") for where in ("all", name))
    return max((value for value in values if value is not None), default=None)
