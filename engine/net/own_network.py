"""This machine's network devices and addresses, as getifaddrs(3) lists them."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from engine.net import sockets

_UP: Final = 0x1
_RUNNING: Final = 0x40
"""IFF_UP and IFF_RUNNING of net/if.h; the latter says that there is a carrier."""
_ADDRESS_AT: Final[dict[int, tuple[int, int]]] = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}
"""Where in a socket address the host's lies, and its size in bytes."""
_ANY_PORT: Final = 9
_LABEL: Final = ":"
"""Before what an IPv4 address may be labelled with, as in eth0:1."""


class LinkState(Enum):
    """Whether a device can carry packets, in words that complete "it is ..."."""

    UP = "up"
    DOWN = "down"
    NO_CARRIER = "without a carrier"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is."""

    device: str
    prefix_bits: int


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """Devices by name, and addresses in text; one that several devices have is on one that is up."""

    devices: Mapping[str, LinkState]
    places: Mapping[str, Place]

    def state_of(self, device: str) -> LinkState:
        """Whether a device that may be gone by now can carry packets."""
        return self.devices.get(device, LinkState.GONE)


class _Entry(ctypes.Structure):
    pass


_Entry._fields_ = (
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("peer", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.getifaddrs.argtypes = [ctypes.POINTER(ctypes.POINTER(_Entry))]
_libc.freeifaddrs.argtypes = [ctypes.POINTER(_Entry)]
_libc.freeifaddrs.restype = None


def look() -> OwnNetwork:
    """Ask the kernel; raises OSError."""
    first = ctypes.POINTER(_Entry)()
    if _libc.getifaddrs(ctypes.byref(first)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    devices: dict[str, LinkState] = {}
    places: dict[str, Place] = {}
    try:
        for entry in _entries(first):
            device = entry.name.decode(errors="replace").partition(_LABEL)[0]
            devices[device] = _state(entry.flags)
            if packed := _host(entry.address):
                family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
                prefix_bits = int.from_bytes(_host(entry.netmask)).bit_count()
                host = socket.inet_ntop(family, packed)
                if devices[device] is LinkState.UP or host not in places:
                    places[host] = Place(device, prefix_bits)
    finally:
        _libc.freeifaddrs(first)
    return OwnNetwork(devices, places)


def source_towards(host: str) -> str | None:
    """The own address that the kernel would send from to a host; None: there is no route."""
    with socket.socket(sockets.family_of(host), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((host, _ANY_PORT))
        except OSError:
            return None
        source: str = sock.getsockname()[0]
        return source


def _entries(entry: ctypes._Pointer[_Entry]) -> Iterator[_Entry]:
    while entry:
        yield entry.contents
        entry = entry.contents.next


def _state(flags: int) -> LinkState:
    if not flags & _UP:
        return LinkState.DOWN
    return LinkState.UP if flags & _RUNNING else LinkState.NO_CARRIER


def _host(address: int | None) -> bytes:
    """The host in a socket address; empty where there is none, or one of another kind."""
    if not address:
        return b""
    family = ctypes.c_ushort.from_address(address).value
    at, size = _ADDRESS_AT.get(family, (0, 0))
    return ctypes.string_at(address + at, size)
