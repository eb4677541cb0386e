"""The network devices of this machine, and what the fast path needs to know of them."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fcntl import ioctl
from socket import AF_INET, AF_INET6, SOCK_DGRAM, AddressFamily, inet_ntop, inet_pton, socket
from typing import Final

from engine.fastpath.netlink import DUMP, NETLINK_GENERIC, Netlink, NetlinkError, attribute, attributes

_GET_LINK: Final = 18
_LINK: Final = struct.Struct("=BxHiII")
_LINK_MAC, _LINK_NAME, _LINK_MTU, _LINK_BELOW, _LINK_DETAILS = 1, 3, 4, 5, 18
_LINK_FAMILIES, _LINK_BELOW_ELSEWHERE, _LINK_XDP = 26, 37, 43
_ETHERNET: Final = 1
_UP_WITH_CARRIER: Final = 0x10001
_DETAILS_KIND, _DETAILS_DATA = 1, 2
_VLAN_IDENTIFIER, _VLAN_PROTOCOL = 1, 5
_802_1Q: Final = b"\x81\x00"
_SETTINGS: Final = {AF_INET: 1, AF_INET6: 2}
_SETTING_BYTES: Final = 4
_XDP_PROGRAMS: Final = (4, 5, 6, 7)
"""The program, if there is but one; else those of native, generic and offloaded mode."""

_GET_ADDRESS: Final = 22
_ADDRESS: Final = struct.Struct("=BBBBI")
_ADDRESS_PEER, _ADDRESS_OWN = 1, 2

_GET_ROUTE: Final = 26
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ROUTE_DESTINATION, _ROUTE_DEVICE = 1, 4
_UNICAST: Final = 1

_GENERIC: Final = struct.Struct("=BBH")
_FAMILIES, _GET_FAMILY = 0x10, 3
_FAMILY_NUMBER, _FAMILY_NAME = 1, 2
_GET_DEVICE: Final = 1
_DEVICE_INDEX, _DEVICE_XDP_FEATURES = 1, 3
_TAKES_REDIRECTS: Final = 0x4

# Linux: SIOCETHTOOL of linux/sockios.h, ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN and ETH_FLAG_LRO of linux/ethtool.h
_ASK_DRIVER: Final = 0x8946
_DRIVER_REQUEST: Final = struct.Struct("@16sP16x")
_GET_FLAGS: Final = 0x25
_TAKES_TAGS_OFF: Final = 1 << 8
_MERGES: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Interface:
    """A network device as it was when the kernel was asked."""

    index: int
    name: str
    mac: str
    """Empty where the device has none."""
    mtu_bytes: int
    up: bool
    """Switched on, and with a carrier."""
    is_ethernet: bool
    lower_index: int
    """The device below a VLAN device; else its own index."""
    vlan: int | None
    """The 802.1Q identifier of a VLAN device."""
    addresses: tuple[str, ...]
    forwards_v4: bool
    forwards_v6: bool
    xdp_program_id: int | None
    kind: str = ""
    """Which sort of virtual device, such as veth; empty for hardware."""
    carries_vlans: bool = False
    """Whether it is below VLAN devices."""


def list_interfaces() -> dict[int, Interface]:
    """All devices, by index.

    Raises:
        NetlinkError: the kernel refuses.
    """
    addresses: dict[int, list[str]] = {}
    with Netlink() as kernel:
        links = kernel.ask(_GET_LINK, bytes(_LINK.size), DUMP)
        for answer in kernel.ask(_GET_ADDRESS, bytes(_ADDRESS.size), DUMP):
            family, *_, index = _ADDRESS.unpack_from(answer)
            found = attributes(answer, _ADDRESS.size)
            packed = found.get(_ADDRESS_OWN) or found.get(_ADDRESS_PEER)
            if packed and family in (AF_INET, AF_INET6):
                addresses.setdefault(index, []).append(inet_ntop(family, packed))
    interfaces = [_interface(answer, addresses) for answer in links]
    carriers = {interface.lower_index for interface in interfaces if interface.vlan is not None}
    return {one.index: replace(one, carries_vlans=True) if one.index in carriers else one for one in interfaces}


def route_to(address: str) -> int | None:
    """Index of the device by which packets to an address leave this machine; None: they do not.

    Raises:
        NetlinkError: there is no asking the kernel.
    """
    family = AF_INET6 if ":" in address else AF_INET
    packed = inet_pton(family, address)
    question = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_ROUTE_DESTINATION, packed)
    with Netlink() as kernel:
        try:
            (answer,) = kernel.ask(_GET_ROUTE, question)
        except NetlinkError:
            return None
    _, _, _, _, _, _, _, kind, _ = _ROUTE.unpack_from(answer)
    device = attributes(answer, _ROUTE.size).get(_ROUTE_DEVICE)
    return _number(device) if device and kind == _UNICAST else None


def can_receive_redirects(index: int) -> bool | None:
    """Whether a device's driver takes the frames that native XDP of another device redirects to it.

    None: the kernel does not tell (before 6.3), or there is no such device. Many drivers take them only while a
    program is attached to the device itself, and veth only while its peer has a program or GRO.
    """
    try:
        with Netlink(NETLINK_GENERIC) as kernel:
            (family,) = kernel.ask(_FAMILIES, _generic(_GET_FAMILY, attribute(_FAMILY_NAME, b"netdev\0")))
            number = _number(attributes(family, _GENERIC.size)[_FAMILY_NUMBER])
            which = attribute(_DEVICE_INDEX, index.to_bytes(4, sys.byteorder))
            (device,) = kernel.ask(number, _generic(_GET_DEVICE, which))
    except NetlinkError:
        return None
    return bool(_number(attributes(device, _GENERIC.size)[_DEVICE_XDP_FEATURES]) & _TAKES_REDIRECTS)


def hides_tags(interface: Interface) -> bool:
    """Whether the kernel may take the VLAN tags off a device's frames before a program in generic mode sees them.

    It puts them on again when the frames leave, also by another device. Virtual devices pass on frames whose tags
    others have taken off.
    """
    flags = _driver_flags(interface.name)
    return flags is None or bool(interface.kind or flags & _TAKES_TAGS_OFF)


def merges_packets(interface: Interface) -> bool:
    """Whether the card makes one packet of several that arrive (LRO), with which many drivers refuse native XDP."""
    return bool((_driver_flags(interface.name) or 0) & _MERGES)


def _driver_flags(name: str) -> int | None:
    """What a device's driver has switched on (ETHTOOL_GFLAGS); None: there is no such device, or no asking."""
    flags = array("I", [_GET_FLAGS, 0])
    address, _ = flags.buffer_info()
    try:
        with socket(AF_INET, SOCK_DGRAM) as kernel:
            ioctl(kernel, _ASK_DRIVER, _DRIVER_REQUEST.pack(name.encode(), address))
    except OSError:
        return None
    return flags[1]


def _interface(answer: bytes, addresses: Mapping[int, list[str]]) -> Interface:
    _, hardware, index, flags, _ = _LINK.unpack_from(answer)
    found = attributes(answer, _LINK.size)
    settings = attributes(found.get(_LINK_FAMILIES, b""))
    details = attributes(found.get(_LINK_DETAILS, b""))
    vlan = None if _LINK_BELOW_ELSEWHERE in found else _vlan(details)
    return Interface(
        index=index,
        name=_text(found[_LINK_NAME]),
        mac=found.get(_LINK_MAC, b"").hex(":"),
        mtu_bytes=_number(found[_LINK_MTU]),
        up=flags & _UP_WITH_CARRIER == _UP_WITH_CARRIER,
        is_ethernet=hardware == _ETHERNET,
        lower_index=index if vlan is None else _number(found[_LINK_BELOW]),
        vlan=vlan,
        addresses=tuple(addresses.get(index, ())),
        forwards_v4=_forwards(settings, AF_INET),
        forwards_v6=_forwards(settings, AF_INET6),
        xdp_program_id=_xdp_program(attributes(found.get(_LINK_XDP, b""))),
        kind=_text(details.get(_DETAILS_KIND, b"")),
    )


def _vlan(details: Mapping[int, bytes]) -> int | None:
    """The identifier with which frames can be handed to the device below instead."""
    if _text(details.get(_DETAILS_KIND, b"")) != "vlan":
        return None
    vlan = attributes(details[_DETAILS_DATA])
    return _number(vlan[_VLAN_IDENTIFIER]) if vlan[_VLAN_PROTOCOL] == _802_1Q else None


def _forwards(settings: Mapping[int, bytes], family: AddressFamily) -> bool:
    """The first of a family's settings, as the kernel numbers them, is `forwarding`."""
    values = attributes(settings.get(family, b"")).get(_SETTINGS[family], b"")
    return bool(_number(values[:_SETTING_BYTES]))


def _xdp_program(xdp: Mapping[int, bytes]) -> int | None:
    return next((_number(xdp[kind]) for kind in _XDP_PROGRAMS if kind in xdp), None)


def _generic(command: int, body: bytes) -> bytes:
    return _GENERIC.pack(command, 1, 0) + body


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="replace")


def _number(payload: bytes) -> int:
    return int.from_bytes(payload, sys.byteorder)
