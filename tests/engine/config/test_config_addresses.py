"""Addresses and pools are read as operators write them."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from engine.config.addresses import (
    MAX_POOL_SIZE,
    expand_pool,
    parse_address,
    parse_endpoint,
    spell_endpoint,
    why_unusable,
)


def test_a_pool_lists_single_addresses_ranges_and_whole_blocks_in_order() -> None:
    pool = expand_pool(["192.0.2.9", "192.0.2.20-192.0.2.22", "192.0.2.32/30"])
    assert [str(address) for address in pool] == [f"192.0.2.{host}" for host in (9, 20, 21, 22, 32, 33, 34, 35)]


def test_a_pool_may_be_ipv6() -> None:
    assert expand_pool(["2001:db8::1 - 2001:db8::2"]) == [IPAddress("2001:db8::1"), IPAddress("2001:db8::2")]


def test_an_empty_pool_has_no_address() -> None:
    assert expand_pool([]) == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["192.0.2.0/24", "192.0.2.7"], '"192.0.2.0/24" and "192.0.2.7" overlap: write each address once'),
        (["192.0.2.1", "192.0.2.1"], '"192.0.2.1" and "192.0.2.1" overlap: write each address once'),
        (["2001:db8::/64"], f"the pool has more than {MAX_POOL_SIZE} addresses: write smaller ranges"),
        (["10.0.0.0/19"], f"the pool has more than {MAX_POOL_SIZE} addresses: write smaller ranges"),
        (["192.0.2.1/24"], '"192.0.2.1/24" has bits set behind its prefix: write "192.0.2.0/24"'),
        (["192.0.2.0/33"], '"192.0.2.0/33" is not a block: write for example "192.0.2.0/28"'),
        (
            ["192.0.2.9-192.0.2.1"],
            '"192.0.2.9-192.0.2.1" does not run from a lower to a higher address: write "LOWEST-HIGHEST"',
        ),
        (
            ["192.0.2.9-2001:db8::1"],
            '"192.0.2.9-2001:db8::1" does not run from a lower to a higher address: write "LOWEST-HIGHEST"',
        ),
    ],
)
def test_a_wrong_pool_is_refused_with_what_to_write(entries: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="write") as refused:
        expand_pool(entries)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.0.0.1/24", '"10.0.0.1/24" is not an IPv4 or IPv6 address: leave the prefix length out'),
        ("fe80::1%eth0", '"fe80::1%eth0" is not an IPv4 or IPv6 address: leave the zone out'),
        ("::ffff:10.0.0.1", '"::ffff:10.0.0.1" is an IPv4 address mapped into IPv6: write "10.0.0.1"'),
        (
            "vpn.example",
            '"vpn.example" is not an IPv4 or IPv6 address: write for example "192.0.2.10" or "2001:db8::10"; '
            "names are not looked up",
        ),
    ],
)
def test_what_is_no_address_is_refused_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match="address") as refused:
        parse_address(text)
    assert str(refused.value) == remedy


@given(st.lists(st.text(max_size=24) | st.from_regex(r"[0-9a-f:./-]{0,40}", fullmatch=True), max_size=4))
def test_any_texts_are_a_pool_or_a_value_error(entries: list[str]) -> None:
    with suppress(ValueError):
        assert len(expand_pool(entries)) <= MAX_POOL_SIZE


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "stands for every address"),
        ("::", "stands for every address"),
        ("224.0.0.1", "is a multicast address"),
        ("ff02::1", "is a multicast address"),
        ("255.255.255.255", "is the broadcast address"),
        ("fe80::1", "is a link-local address"),
    ],
)
def test_addresses_that_no_machine_has_are_told_apart(address: str, why: str) -> None:
    assert (why_unusable(IPAddress(address)) or "").startswith(why)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.255", "203.0.113.10", "::1", "2001:db8::1"])
def test_addresses_that_a_machine_can_have_are_usable(address: str) -> None:
    assert why_unusable(IPAddress(address)) is None


def test_an_ipv6_endpoint_stands_in_brackets() -> None:
    assert spell_endpoint(IPAddress("2001:db8::1"), 500) == "[2001:db8::1]:500"
    assert spell_endpoint(IPAddress("192.0.2.1"), 500) == "192.0.2.1:500"


@pytest.mark.parametrize("text", ["127.0.0.1:9466", "[::1]:9466", "[2001:db8::1]:65535"])
def test_an_endpoint_is_read_as_it_is_spelled(text: str) -> None:
    assert spell_endpoint(*parse_endpoint(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9466", '"9466" is not an address and a port: write for example "127.0.0.1:9466"'),
        (":9466", '"" is not an IPv4 or IPv6 address'),
        ("::1:9466", '"::1:9466" is not an address and a port'),
        ("127.0.0.1:", '"" is not a port: write a number from 1 to 65535'),
        ("127.0.0.1:0", '"0" is not a port'),
        ("127.0.0.1:65536", '"65536" is not a port'),
        ("127.0.0.1:٣", '"٣" is not a port'),
    ],
)
def test_what_is_no_endpoint_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_endpoint(text)
