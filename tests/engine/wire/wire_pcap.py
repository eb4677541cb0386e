"""Reads the UDP datagrams of the captures: classic pcap, Ethernet frames, IPv4."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CAPTURES = Path(__file__).parents[2] / "data" / "captures"

ETHERTYPE_IPV4 = 0x0800
MORE_FRAGMENTS = 0x2000
OFFSET_MASK = 0x1FFF


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram as a socket delivers it: whole, whatever IP did to it."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    fragments: tuple[tuple[float, int, int], ...]
    """When the IP packets came, their offsets and whole sizes in bytes; one: not fragmented."""

    @property
    def nat_t(self) -> bool:
        return 500 not in (self.source[1], self.destination[1])


def datagrams(path: Path) -> Iterator[Datagram]:
    """Yield the datagrams of a capture in the order of their last pieces, at times since its start."""
    pieces: dict[bytes, list[tuple[float, int, int, bytes]]] = {}
    for at, ip in _ipv4_packets(path):
        header_size = (ip[0] & 0x0F) * 4
        total_size, identification, fragment = struct.unpack_from("!H2sH", ip, 2)
        key = ip[12:20] + identification
        chain = pieces.setdefault(key, [])
        chain.append((at, (fragment & OFFSET_MASK) * 8, total_size, ip[header_size:total_size]))
        if fragment & MORE_FRAGMENTS:
            continue
        udp = b"".join(part for *_, part in chain)
        source_port, destination_port, udp_size = struct.unpack_from("!HHH", udp)
        assert udp_size == len(udp)
        yield Datagram(
            (".".join(map(str, ip[12:16])), source_port),
            (".".join(map(str, ip[16:20])), destination_port),
            udp[8:],
            tuple((at, offset, size) for at, offset, size, _ in chain),
        )
        del pieces[key]
    assert not pieces


def _ipv4_packets(path: Path) -> Iterator[tuple[float, bytes]]:
    data = path.read_bytes()
    magic, link_type = struct.unpack_from("<I16xI", data)
    assert magic == 0xA1B2C3D4
    assert link_type == 1
    at, start = 24, None
    while at < len(data):
        seconds, micros, kept_size, sent_size = struct.unpack_from("<IIII", data, at)
        assert kept_size == sent_size
        frame = data[at + 16 : at + 16 + kept_size]
        at += 16 + kept_size
        time = seconds + micros / 1e6
        start = time if start is None else start
        if struct.unpack_from("!H", frame, 12) == (ETHERTYPE_IPV4,):
            yield time - start, frame[14:]
