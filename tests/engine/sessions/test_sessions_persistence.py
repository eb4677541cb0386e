"""Persistence records: bounded, found while they last, the least needed one gives way."""

from __future__ import annotations

import pytest

from engine.config.schema import PrefixLengths
from engine.sessions.persistence import PersistenceTable, client_network, packed
from tests.engine.sessions.session_world import World

TIMEOUT_S = 1800.0


@pytest.mark.parametrize(
    ("host", "prefix", "network"),
    [
        ("198.51.100.7", PrefixLengths(), "198.51.100.7/32"),
        ("198.51.100.7", PrefixLengths(v4=24), "198.51.100.0/24"),
        ("198.51.100.7", PrefixLengths(v4=0), "0.0.0.0/0"),
        ("2001:db8::7", PrefixLengths(), "2001:db8::7/128"),
        ("2001:db8:1:2:3::7", PrefixLengths(v6=56), "2001:db8:1::/56"),
        ("fe80::1%eth0", PrefixLengths(), "fe80::1/128"),
        ("fe80::1%eth0", PrefixLengths(v6=64), "fe80::/64"),
    ],
)
def test_client_network(host: str, prefix: PrefixLengths, network: str) -> None:
    """The network that a client's address belongs to, by the prefix of its own address family."""
    assert client_network(host, prefix) == network


def test_packed_ignores_the_scope() -> None:
    """Hashing schedulers get 4 or 16 bytes, whatever interface a link-local client came in on."""
    assert packed("198.51.100.7") == bytes([198, 51, 100, 7])
    assert packed("fe80::1%eth0") == packed("fe80::1") == b"\xfe\x80" + bytes(13) + b"\x01"


def test_record_expires_and_slides() -> None:
    """A record is found until its timeout after the last use; with flows it has no end."""
    servers = World().service.servers
    table = PersistenceTable(10)
    record = table.remember("x", servers["a"], 0.0)
    assert table.get("x", TIMEOUT_S, 1799.9) is record
    assert table.get("x", TIMEOUT_S, 1800.0) is None
    table.take(record)
    assert table.get("x", TIMEOUT_S, 1e6) is record
    table.leave(record, 5000.0)
    assert table.get("x", TIMEOUT_S, 6799.9) is record
    assert table.get("x", TIMEOUT_S, 6800.0) is None


def test_same_client_is_pointed_elsewhere() -> None:
    """A client has one record: a new decision replaces the server in it."""
    servers = World().service.servers
    table = PersistenceTable(10)
    record = table.remember("x", servers["a"], 0.0)
    assert table.remember("x", servers["b"], 1.0) is record
    assert record.server is servers["b"]
    assert len(table) == 1


def test_record_without_flows_gives_way_first() -> None:
    """When full, the record unused for longest goes; those of clients that are there go only when nothing else is."""
    server = World().server("a")
    table = PersistenceTable(3)
    there, left_first, left_later = (table.remember(name, server, 0.0) for name in ("there", "first", "later"))
    for record in (there, left_first, left_later):
        table.take(record)
    table.leave(left_first, 1.0)
    table.leave(left_later, 2.0)
    table.remember("d", server, 3.0)
    assert not table.holds(left_first)
    table.remember("e", server, 4.0)
    assert not table.holds(left_later)
    assert table.holds(there)
    full = PersistenceTable(1)
    record = full.remember("x", server, 0.0)
    full.take(record)
    full.remember("y", server, 1.0)
    assert [record.client for record in full] == ["y"]


def test_forgotten_record_stays_forgotten() -> None:
    """Flows of a forgotten record may go on and end without bringing it back or disturbing its successor."""
    server = World().server("a")
    table = PersistenceTable(3)
    old = table.remember("x", server, 0.0)
    table.take(old)
    table.forget(old)
    new = table.remember("x", server, 1.0)
    table.leave(old, 2.0)
    table.forget(old)
    assert table.holds(new)
    assert list(table) == [new]


def test_records_of_a_lost_server_go_at_once() -> None:
    """All of them and no others, and their number is told."""
    servers = World().service.servers
    table = PersistenceTable(10)
    for number in range(5):
        table.remember(f"a{number}", servers["a"], 0.0)
    kept = table.remember("b", servers["b"], 0.0)
    assert table.forget_server(servers["a"]) == 5
    assert list(table) == [kept]
    table.clear()
    assert len(table) == 0


def test_expired_records_are_swept_in_portions_and_those_in_use_stay() -> None:
    """Memory comes back by itself, a bounded number at a time; a client that is there keeps its record."""
    server = World().server("a")
    table = PersistenceTable(100)
    there = table.remember("there", server, 0.0)
    table.take(there)
    for number in range(5):
        table.remember(f"gone{number}", server, float(number))
    table.expire(TIMEOUT_S, 1802.0, 2)
    assert [record.client for record in table] == ["there", "gone2", "gone3", "gone4"]
    table.expire(TIMEOUT_S, 1802.0, 10)
    assert [record.client for record in table] == ["there", "gone3", "gone4"]
    table.remember("gone3", server, 1802.0)
    table.expire(TIMEOUT_S, 3601.0, 10)
    assert [record.client for record in table] == ["there", "gone3"]


def test_pins_do_not_expire_give_way_or_follow_sessions() -> None:
    """Only the operator points a pinned client elsewhere; it costs the others no room."""
    a, b = World().server("a"), World().server("b")
    table = PersistenceTable(1)
    pin = table.pin("pinned", a, 0.0)
    ordinary = table.remember("x", a, 0.0)
    table.remember("y", a, 1.0)
    assert not table.holds(ordinary)
    assert table.remember("pinned", b, 2.0) is pin
    assert pin.server is a
    table.expire(TIMEOUT_S, 1e9, 10)
    assert table.get("pinned", TIMEOUT_S, 1e9) is pin
    table.clear()
    assert table.forget_server(a) == 0
    assert list(table) == list(table.pins) == [pin]
    assert table.pin("pinned", b, 3.0) is pin
    assert pin.server is b
    table.forget(pin)
    assert len(table) == 0


def test_a_record_with_flows_becomes_a_pin_and_its_flows_end_without_trace() -> None:
    server = World().server("a")
    table = PersistenceTable(10)
    record = table.remember("x", server, 0.0)
    table.take(record)
    assert table.pin("x", server, 1.0) is record
    table.leave(record, 2.0)
    table.expire(TIMEOUT_S, 1e9, 10)
    assert table.holds(record)
    table.take(record)
    table.forget(record)
    successor = table.remember("x", server, 3.0)
    table.leave(record, 4.0)
    assert list(table) == [successor]
    assert not successor.pinned


def test_pins_follow_the_name_of_their_server() -> None:
    """A server that gets another address keeps its pins; those of one that is gone are told and gone."""
    old, new = World(), World()
    table = PersistenceTable(10)
    followed, gone = table.pin("x", old.server("a"), 0.0), table.pin("y", old.server("b"), 0.0)
    assert table.keep_pins({"a": new.server("a")}) == [gone]
    assert list(table.pins) == [followed]
    assert followed.server is new.server("a")
    assert table.clear_pins() == [followed]
    assert len(table) == 0
