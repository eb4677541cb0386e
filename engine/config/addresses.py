"""Addresses and pools of addresses as operators write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from netaddr import AddrFormatError, IPAddress, IPNetwork

MAX_POOL_SIZE = 4096


def parse_address(text: str) -> IPAddress:
    """The IPv4 or IPv6 address that `text` is.

    Raises `ValueError`, whose message says what to write instead.
    """
    try:
        address = IPAddress(text)
    except (AddrFormatError, ValueError):
        raise ValueError(f'"{text[:60]}" is not an IPv4 or IPv6 address: {_remedy(text)}') from None
    if address.is_ipv4_mapped():
        raise ValueError(f'"{text}" is an IPv4 address mapped into IPv6: write "{address.ipv4()}"')
    return address


def expand_pool(entries: Sequence[str]) -> list[IPAddress]:
    """Every address of a pool in the order written: single ones, "A-B" ranges and whole CIDR blocks.

    Raises `ValueError`, whose message says what to write, for an entry that is none of these, for one that
    overlaps another, and for a pool of more than `MAX_POOL_SIZE` addresses.
    """
    spans = [_parse_span(entry) for entry in entries]
    if sum(span.last - span.first + 1 for span in spans) > MAX_POOL_SIZE:
        raise ValueError(f"the pool has more than {MAX_POOL_SIZE} addresses: write smaller ranges")
    for one, next_one in pairwise(sorted(spans, key=lambda span: (span.version, span.first))):
        if one.version == next_one.version and next_one.first <= one.last:
            raise ValueError(f'"{one.entry}" and "{next_one.entry}" overlap: write each address once')
    return [IPAddress(value, span.version) for span in spans for value in range(span.first, span.last + 1)]


def why_unusable(address: IPAddress) -> str | None:
    """Why no single machine can have this address, if so."""
    if int(address) == 0:
        return "stands for every address of the machine, and replies must leave from one: write that address"
    if address.is_multicast():
        return "is a multicast address: write the address of one machine"
    if address == IPAddress("255.255.255.255"):
        return "is the broadcast address: write the address of one machine"
    if address.version == 6 and address.is_link_local():
        return "is a link-local address, which means nothing without its interface: write a routable one"
    return None


def parse_endpoint(text: str) -> tuple[IPAddress, int]:
    """The address and port that `text` is, written as `spell_endpoint` does.

    Raises `ValueError`, whose message says what to write instead.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(f'"{text[:60]}" is not an address and a port: write for example "127.0.0.1:9466"')
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f'"{port[:20]}" is not a port: write a number from 1 to 65535')
    return parse_address(host.removeprefix("[").removesuffix("]")), int(port)


def spell_endpoint(address: IPAddress, port: int) -> str:
    """address:port, or [address]:port for IPv6."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class _Span:
    entry: str
    version: Literal[4, 6]
    first: int
    last: int


def _parse_span(entry: str) -> _Span:
    if "/" in entry:
        try:
            block = IPNetwork(entry)
        except (AddrFormatError, ValueError):
            raise ValueError(f'"{entry[:60]}" is not a block: write for example "192.0.2.0/28"') from None
        if block.ip != block.network:
            raise ValueError(f'"{entry}" has bits set behind its prefix: write "{block.cidr}"')
        return _Span(entry, block.version, block.first, block.last)
    start, _, end = entry.partition("-")
    first = parse_address(start.strip())
    last = parse_address(end.strip()) if end else first
    if first.version != last.version or first > last:
        raise ValueError(f'"{entry}" does not run from a lower to a higher address: write "LOWEST-HIGHEST"')
    return _Span(entry, first.version, int(first), int(last))


def _remedy(text: str) -> str:
    if "/" in text:
        return "leave the prefix length out"
    if "%" in text:
        return "leave the zone out"
    return 'write for example "192.0.2.10" or "2001:db8::10"; names are not looked up'
