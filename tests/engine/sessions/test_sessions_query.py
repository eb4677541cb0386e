"""What the operator asks of the session table: conditions on single sessions."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.schema import PersistenceKind
from engine.sessions import query
from engine.sessions.query import (
    SLICE,
    BadQuery,
    Filter,
    address_key,
    make_filter,
    make_test,
    parse_clients,
    parse_network,
    slices,
    totals,
    vendor_of,
)
from engine.wire.build import build_message, vendor_payload
from engine.wire.payloads import PayloadType
from tests.engine.sessions.session_world import IKE, NAT_T, World, esp, informational, init


@pytest.fixture
def world() -> World:
    """Two tunnels on each of two servers, the third client with traffic, and one half-open session."""
    world = World(persistence=PersistenceKind.NONE)
    for number in range(1, 5):
        world.connect(f"198.51.100.{number}", 0xABC0 + number)
        world.later(1)
    for _ in range(number):
        world.client_sends(("198.51.100.3", 4500), NAT_T, esp())
    world.client_sends(("2001:db8::9", 500, 0, 0), IKE, init(0xFFFF_0000_0000_0001))
    return world


def found(world: World, condition: Filter) -> list[str]:
    return [session.host.rpartition(".")[2] for session in condition.among(world.sessions(), world.now_s)]


@pytest.mark.parametrize(
    ("typed", "hosts"),
    [
        ({}, ["1", "2", "3", "4", "2001:db8::9"]),
        ({"service": "vpn"}, ["1", "2", "3", "4", "2001:db8::9"]),
        ({"service": "other"}, []),
        ({"server": "b"}, ["2", "4"]),
        ({"client": "198.51.100.3"}, ["3"]),
        ({"client": "198.51.100.0/30"}, ["1", "2", "3"]),
        ({"client": "2001:db8::/32"}, ["2001:db8::9"]),
        ({"spi": "ffff00000000"}, ["2001:db8::9"]),
        ({"spi": "0x000000000000ABC2"}, ["2"]),
        ({"spi": f"{0xABC2 ^ 0xFFFF_FFFF_FFFF_FFFF:x}"}, ["2"]),
        ({"phase": "init"}, ["2001:db8::9"]),
        ({"phase": "established", "server": "a"}, ["1", "3"]),
        ({"idle_over_s": 2.5}, ["1", "2"]),
    ],
)
def test_conditions(world: World, typed: dict[str, str], hosts: list[str]) -> None:
    """Each condition picks what it says, several together what meets all of them."""
    assert found(world, make_filter(**typed)) == hosts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ({"client": "alice"}, "write one such as"),
        ({"client": "198.51.100.0/33"}, "write one such as"),
        ({"spi": "xyz"}, "hexadecimal"),
        ({"spi": "0x"}, "hexadecimal"),
        ({"phase": "asleep"}, "write one of init, cookie, auth, established, idle"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(typed: dict[str, str], remedy: str) -> None:
    """What cannot be meant is refused, and the message says what to write."""
    with pytest.raises(BadQuery, match=remedy):
        make_filter(**typed)  # type: ignore[arg-type]


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-f.:/%]{1,40}", fullmatch=True))
def test_any_text_is_a_network_or_refused(text: str) -> None:
    """Whatever is typed as a client raises nothing but the refusal."""
    with suppress(BadQuery):
        parse_network(text)


@given(st.lists(st.ip_addresses(), min_size=2, max_size=2))
def test_address_keys_sort_as_addresses_do(addresses: list[IPv4Address | IPv6Address]) -> None:
    """IPv4 comes before IPv6, then the smaller number first."""
    one, other = addresses
    assert (address_key(str(one)) < address_key(str(other))) == ((one.version, int(one)) < (other.version, int(other)))


@pytest.mark.parametrize(
    ("typed", "network"),
    [
        ("203.0.113.", "203.0.113.0/24"),
        ("203.*", None),
        ("203.0.*", None),
        ("203.", "203.0.0.0/8"),
        ("203.0.113.*", None),
        ("2001:db8:", "2001:db8::/32"),
        ("2001:db8::", "2001:db8::/128"),
    ],
)
def test_the_first_numbers_of_an_address_are_a_prefix(typed: str, network: str | None) -> None:
    """Cut after a dot or colon, with or without a *, an address stands for all that begin so."""
    assert parse_clients(typed) == parse_clients(typed.removesuffix("*"))
    if network:
        assert str(parse_clients(typed)) == network


def test_a_client_is_found_where_it_roamed_to(world: World) -> None:
    """Both the address that began the session and the one it has now find it."""
    world.client_sends(("203.0.113.77", 4500), NAT_T, informational(0xABC1))
    for address in ("198.51.100.1", "203.0.113.0/24"):
        assert found(world, make_filter(client=address)) == ["1"]
    assert found(world, make_filter(client="203.0.114.0/24")) == []


def test_a_vendor_is_worked_out_once_until_the_client_says_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand sessions are not read anew for each list."""
    client = ("198.51.100.77", 500)
    world.client_sends(client, IKE, build_message([vendor_payload(b"OE-Libreswan-5.2")], spi_i=77))
    session = world.sessions()[-1]
    assert vendor_of(session) == "Libreswan 5.2"
    with monkeypatch.context() as patch:
        patch.setattr(query, "read_vendor_ids", None)
        assert vendor_of(session) == "Libreswan 5.2"
    world.client_sends(client, IKE, build_message([(PayloadType.V, b"")], spi_i=77)[:-1] + b"\x05")
    assert vendor_of(session).startswith("unreadable IKE_SA_INIT: ")


def test_pinned_clients_are_found(world: World) -> None:
    """A pin is the operator's record of the session's client; any other record is none."""
    pinned = Filter((make_test("pinned", ""),))
    assert found(world, pinned) == []
    world.service.persistence.pin("198.51.100.3/32", world.server("a"), world.now_s)
    assert found(world, pinned) == ["3"]


def test_slices_cover_the_table_in_small_pieces(world: World) -> None:
    """Every session is in exactly one slice, and none is longer than the forwarder can wait."""
    many = world.sessions() * (SLICE // 2)
    pieces = list(slices(many))
    assert [session for piece in pieces for session in piece] == many
    assert max(map(len, pieces)) == SLICE


def test_totals_add_up_to_what_the_servers_counted() -> None:
    """Over flows that ended, flows that changed hands and flows that live, no packet is lost or counted twice."""
    world = World(servers="a")
    first = world.connect("198.51.100.1", 1)
    world.client_sends(("198.51.100.1", 4500), NAT_T, esp())
    world.client_sends(("198.51.100.1", 4500), NAT_T, bytes(4) + init(2))
    world.server_sends(("198.51.100.1", 4500), NAT_T, informational(2, from_server=True))
    world.client_sends(("198.51.100.1", 4500), NAT_T, esp())
    world.later(200)
    world.client_sends(("198.51.100.1", 4500), NAT_T, esp())
    parts = [totals(session) for session in world.sessions()]
    server = world.server("a")
    assert world.flow(("198.51.100.1", 500), IKE) is None
    assert totals(first).packets_in == 5
    assert sum(part.packets_in for part in parts) == server.packets_in
    assert sum(part.bytes_in for part in parts) == server.bytes_in
    assert sum(part.packets_out for part in parts) == server.packets_out
    assert sum(part.bytes_out for part in parts) == server.bytes_out


@pytest.mark.parametrize(
    "client", ["fe80::1%\x1b[2J", "fe80::1%a\nb", "fe80::1%" + "a" * 100_000, "fe80::1%", "1.2.3.4%a/32/8", "1.2.3.4\n"]
)
def test_what_a_terminal_would_obey_is_no_address(client: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_network(client)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_zone_is_part_of_an_address() -> None:
    assert str(parse_network("fe80::1%eth0.5").network_address) == "fe80::1%eth0.5"
