"""Which devices the XDP program runs on, and which frames may leave by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from engine.config.addresses import expand_pool
from engine.config.schema import Config
from engine.fastpath.attachments import Attachment
from engine.fastpath.interfaces import Interface
from engine.fastpath.layout import MAX_PORTS
from engine.fastpath.program import ForwardingProgram

RouteTo = Callable[[str], int | None]
"""The index of the device by which an address is reached."""


def wanted_devices(config: Config, interfaces: Mapping[int, Interface], route_to: RouteTo) -> dict[int, Interface]:
    """The Ethernet devices that packets of the services come in by, those below VLAN devices for these.

    They have the services' and snat addresses, or lead to real servers. An address that no Ethernet device has (on the
    loopback device, say) can be reached by any: then all that have addresses are wanted.
    """
    at = {address: interface.index for interface in interfaces.values() for address in interface.addresses}
    wanted: set[int] = set()
    everywhere = False
    for service in config.services:
        for address in (service.address, *expand_pool(service.snat_addresses)):
            if address.is_loopback():
                continue
            index = at.get(str(address))
            if index is not None and _lower(interfaces, index) is not None:
                wanted.add(index)
            else:
                everywhere = True
        for server in service.real_servers:
            index = route_to(str(server.address))
            if index is not None:
                wanted.add(index)
    if everywhere:
        wanted |= {interface.index for interface in interfaces.values() if interface.addresses}
    lower = filter(None, (_lower(interfaces, index) for index in wanted))
    return {interface.index: interface for interface in lower}


def without_forwarding(
    config: Config, attached: Iterable[Attachment], interfaces: Mapping[int, Interface]
) -> Iterator[str]:
    """Which devices keep their packets on the slow path because the kernel does not forward there, and the remedy."""
    versions = {service.address.version for service in config.services}
    for attachment in attached:
        interface = interfaces.get(attachment.index)
        if interface is None or attachment.mode is None:
            continue
        for version, on, family in ((4, interface.forwards_v4, "ipv4"), (6, interface.forwards_v6, "ipv6")):
            if version in versions and not on:
                remedy = f"sysctl -w net.{family}.conf.{interface.name}.forwarding=1"
                yield f"{interface.name} does not forward IPv{version}, so its packets take the slow path: {remedy}"


class Egresses:
    """Keeps the program's ports in step with the devices that can take redirected frames."""

    def __init__(self, program: ForwardingProgram) -> None:
        self._program = program
        self._ports: dict[int, int] = {}
        """Port by the index of its device."""
        self._egresses: dict[int, tuple[int, int | None]] = {}
        """Port and VLAN by the index of the device that the routing table names."""
        self._free = list(range(MAX_PORTS))[::-1]

    def follow(self, fit: Iterable[int], interfaces: Mapping[int, Interface]) -> None:
        """Let frames leave by the devices with these indexes, and by the VLAN devices above them."""
        devices = set(fit)
        for index in self._ports.keys() - devices:
            port = self._ports.pop(index)
            self._program.set_port(port, None)
            self._free.append(port)
        for index in sorted(devices - self._ports.keys()):
            if not self._free:
                break
            self._ports[index] = self._free.pop()
            self._program.set_port(self._ports[index], index)
        wanted = {
            interface.index: (self._ports[interface.lower_index], interface.vlan)
            for interface in interfaces.values()
            if interface.up and interface.lower_index in self._ports
        }
        for index in self._egresses.keys() - wanted.keys():
            self._program.remove_egress(index)
        for index, (port, vlan) in wanted.items():
            if self._egresses.get(index) != (port, vlan):
                self._program.set_egress(index, port, vlan)
        self._egresses = wanted


def _lower(interfaces: Mapping[int, Interface], index: int) -> Interface | None:
    """The Ethernet device whose frames a device's packets come in; None: they come in none."""
    interface = interfaces.get(index)
    if interface is None:
        return None
    below = interfaces.get(interface.lower_index)
    return below if below is not None and below.is_ethernet else None
