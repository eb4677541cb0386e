"""Which devices the XDP program runs on, and which frames may leave by."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from engine.config.addresses import expand_pool
from engine.config.schema import Config
from engine.fastpath.attachments import Attachment
from engine.fastpath.bpf import BpfError, XdpMode
from engine.fastpath.interfaces import Interface, hides_tags
from engine.fastpath.layout import MAX_EGRESSES, MAX_PORTS
from engine.fastpath.program import ForwardingProgram

_WITHOUT_FRAMES: Final = frozenset({"dummy", "vrf"})
"""Kinds of Ethernet devices that only hold addresses: what is sent to these comes in by others."""

RouteTo = Callable[[str], int | None]
"""The index of the device by which an address is reached."""


def wanted_devices(config: Config, interfaces: Mapping[int, Interface], route_to: RouteTo) -> dict[int, Interface]:
    """The Ethernet devices that packets of the services come in by, those below VLAN devices for these.

    They have the services' and snat addresses, or lead to real servers. An address that no Ethernet device has (on the
    loopback device, say) can be reached by any: then all that have addresses are wanted.
    """
    at = defaultdict[str, set[int]](set)
    for interface in interfaces.values():
        if _lower(interfaces, interface.index) is not None:
            for held in interface.addresses:
                at[held].add(interface.index)
    wanted: set[int] = set()
    everywhere = False
    for service in config.services:
        if service.address.is_loopback():
            # Its clients are on this machine: their packets come in by no device.
            continue
        for address in (service.address, *expand_pool(service.snat_addresses)):
            having = at[str(address)]
            wanted |= having
            everywhere = everywhere or not (having or address.is_loopback())
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


def can_answer(attached: Iterable[Attachment], interfaces: Mapping[int, Interface]) -> bool:
    """Whether a frame can be sent back by whichever of the devices it came in by, with the VLAN tag that it came with.

    In native mode the program does not see a tag that the driver has taken off, and the answer would leave without.
    """
    return not any(
        attachment.mode is XdpMode.NATIVE
        and (not attachment.egress or (interface.carries_vlans and hides_tags(interface)))
        for attachment in attached
        if (interface := interfaces.get(attachment.index)) is not None
    )


class Egresses:
    """Keeps the program's ports in step with the devices that can take redirected frames."""

    def __init__(self, program: ForwardingProgram) -> None:
        self._program = program
        self._ports: dict[int, int] = {}
        """Port by the index of its device."""
        self._egresses: dict[int, tuple[int, int | None]] = {}
        """Port and VLAN by the index of the device that the routing table names."""
        self._free = deque(range(MAX_PORTS))
        """Those free for longest first: a flow may still have the port that its device had."""

    def take_over(self) -> None:
        """Go on with the ports that an earlier engine opened: its flows have them."""
        self._ports = self._program.open_ports()
        self._free = deque(port for port in self._free if port not in self._ports.values())
        self._egresses = self._program.open_egresses()

    def follow(self, fit: Iterable[int], interfaces: Mapping[int, Interface]) -> None:
        """Let frames leave by the devices with these indexes, and by the VLAN devices above them."""
        devices = set(fit)
        for index in self._ports.keys() - devices:
            port = self._ports.pop(index)
            self._program.set_port(port, None)
            self._free.append(port)
        for index in sorted(devices):
            self._open_port(index)
        fitting = (one for one in interfaces.values() if one.up and one.lower_index in self._ports)
        wanted = {
            interface.index: (self._ports[interface.lower_index], interface.vlan)
            for interface in islice(fitting, MAX_EGRESSES)
        }
        for index in self._egresses.keys() - wanted.keys():
            self._program.remove_egress(index)
        for index, (port, vlan) in wanted.items():
            if self._egresses.get(index) != (port, vlan):
                self._program.set_egress(index, port, vlan)
        self._egresses = wanted

    def _open_port(self, index: int) -> None:
        # Also one that is open: when a device goes, the kernel closes its port, and the same device may come back.
        port = self._ports.pop(index, None)
        if port is None:
            if not self._free:
                return
            port = self._free.popleft()
        try:
            self._program.set_port(port, index)
        except BpfError:
            # The device has gone since the kernel was asked, which netlink will tell.
            self._free.append(port)
        else:
            self._ports[index] = port


def _lower(interfaces: Mapping[int, Interface], index: int) -> Interface | None:
    """The Ethernet device whose frames a device's packets come in; None: they come in none."""
    interface = interfaces.get(index)
    if interface is None:
        return None
    below = interfaces.get(interface.lower_index)
    if below is None or not below.is_ethernet or below.kind in _WITHOUT_FRAMES:
        return None
    return below
