"""Captured messages as a pcap file: the packets that Wireshark would have seen in front of or behind the balancer.

The headers are made up from the addresses that the engine knows, fragments are whole, and times are the engine's.
"""

from __future__ import annotations

import socket
import struct
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from engine.control.captured import CapturedMessage

_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")
_MAGIC: Final = 0xA1B2C3D4
"""Of times in microseconds."""
_LINKTYPE_RAW: Final = 101
"""Each packet begins with its IP header, of either version (https://www.tcpdump.org/linktypes.html)."""
_SNAPLEN: Final = 1 << 18

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_PSEUDO_IPV4 = struct.Struct("!4s4sxBH")
_PSEUDO_IPV6 = struct.Struct("!16s16sI3xB")
_HOPS: Final = 64


class Side(StrEnum):
    """Where the packets are looked at."""

    CLIENT = "client"
    """Between the client and the service."""
    SERVER = "server"
    """Between the balancer and the real server."""


def file_header() -> bytes:
    """What a pcap file begins with."""
    return _FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)


def record(message: CapturedMessage, side: Side) -> bytes:
    """One packet of a pcap file; empty for a message that was dropped before it came to this side."""
    match side:
        case Side.CLIENT:
            near, far, arrived = message.client, message.vip, message.direction == "in"
        case Side.SERVER:
            near, far, arrived = message.source, message.server_address, message.direction == "out"
    if not near or not far or (message.dropped and not arrived):
        return b""
    source, destination = (near, far) if message.direction == "in" else (far, near)
    packet = _packet(*_endpoint(source), *_endpoint(destination), message.data)
    seconds, microseconds = divmod(round(message.at * 1_000_000), 1_000_000)
    return _RECORD_HEADER.pack(seconds, microseconds, len(packet), len(packet)) + packet


def _packet(
    source: IPv4Address | IPv6Address,
    source_port: int,
    destination: IPv4Address | IPv6Address,
    destination_port: int,
    payload: bytes,
) -> bytes:
    size = _UDP.size + len(payload)
    addresses = source.packed, destination.packed
    if source.version == 4:
        ip = _IPV4.pack(0x45, 0, _IPV4.size + size, 0, 0, _HOPS, socket.IPPROTO_UDP, 0, *addresses)
        ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
        pseudo = _PSEUDO_IPV4.pack(*addresses, socket.IPPROTO_UDP, size)
    else:
        ip = _IPV6.pack(6 << 28, size, socket.IPPROTO_UDP, _HOPS, *addresses)
        pseudo = _PSEUDO_IPV6.pack(*addresses, size, socket.IPPROTO_UDP)
    unsigned = _UDP.pack(source_port, destination_port, size, 0)
    # Zero would mean that there is none (RFC 768).
    checksum = _checksum(pseudo + unsigned + payload) or 0xFFFF
    return ip + _UDP.pack(source_port, destination_port, size, checksum) + payload


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _endpoint(spelled: str) -> tuple[IPv4Address | IPv6Address, int]:
    host, _, port = spelled.rpartition(":")
    return ip_address(host.strip("[]").partition("%")[0]), int(port)
