"""The order of the session table: total, stable, the same however it is cut."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sessions import browsing, keys, query
from engine.sessions.browsing import ORDERS_KEPT, SORTS, Order, Orders
from engine.sessions.flow import Port
from engine.sessions.query import BadQuery, Filter, make_filter, totals
from engine.sessions.session import Phase, Session
from tests.engine.sessions.session_world import World

HOSTS = ["10.0.0.9", "10.0.0.10", "198.51.100.1", "2001:db8::1", "2001:db8::10"]


def arranged(sessions: list[Session], sort: str, descending: bool = False, condition: Filter | None = None) -> Order:
    order = Order(100.0, 0)
    for _ in order.arrange(sessions, condition or Filter(), sort, descending):
        pass
    return order


def plain_key(session: Session, sort: str) -> Any:
    """What an operator sees in the column, as something that sorts."""
    match sort:
        case "age":
            return 100.0 - session.created_s
        case "idle":
            return 100.0 - session.last_activity_s()
        case "client":
            address = ip_address(session.flows[-1].client[0] if session.flows else session.host)
            return (address.version, int(address))
        case "server":
            return session.server.name
        case "service":
            return session.service.name
        case "phase":
            return str(session.phase)
        case "path":
            return "slow"
        case "why":
            return session.why
        case "vendor":
            return ""
        case "spi":
            return session.spis[-1][0] if session.spis else 0
        case _:
            return getattr(totals(session), sort)


session_facts = st.tuples(
    st.sampled_from(HOSTS),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["scheduled", "same flow"]),
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
)


def make_world(facts: list[tuple[str, str, str, int, int, bool]]) -> World:
    """Sessions made after a list of facts: many alike, so that ties are the rule."""
    world = World()
    for number, (host, server, why, later_s, passed, roams) in enumerate(facts):
        world.now_s += later_s
        session = world.table.open(world.service, world.server(server), host, why, world.now_s)
        if passed:
            keys.bind_spis(session, passed, 7)
            flow = world.table.add_flow(session, Port.NAT_T, (host, 1000 + number), world.now_s)
            flow.bytes_in = flow.packets_in = passed
            session.ended_bytes_out = session.ended_packets_out = passed % 2
            flow.last_out_s = world.now_s + passed % 2
        if roams:
            world.table.add_flow(session, Port.NAT_T, (HOSTS[number % 5], 9000 + number), world.now_s)
        if passed == 2:
            world.table.set_phase(session, Phase.ESTABLISHED)
    return world


@pytest.mark.parametrize("sort", SORTS)
@settings(max_examples=25)
@given(facts=st.lists(session_facts, max_size=40), descending=st.booleans(), cut=st.integers(1, 9))
def test_the_order_is_that_of_a_plain_sort(
    sort: str, facts: list[tuple[str, str, str, int, int, bool]], descending: bool, cut: int
) -> None:
    """However the table is cut into slices and pieces; of those alike the lowest number comes first, either way."""
    world = make_world(facts)
    by_number = world.sessions()
    expected = sorted(by_number, key=lambda session: plain_key(session, sort), reverse=descending)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "SLICE", cut)
        patch.setattr(browsing, "PIECE", 16 + cut)
        order = arranged(by_number, sort, descending)
    assert order.window(0, 1000) == [session.number for session in expected]


@settings(max_examples=50)
@given(
    facts=st.lists(session_facts, min_size=1, max_size=40),
    gone=st.sets(st.integers(1, 45)),
    descending=st.booleans(),
    offset=st.integers(0, 45),
    limit=st.integers(0, 45),
)
def test_windows_are_taken_from_those_that_are_left(
    facts: list[tuple[str, str, str, int, int, bool]], gone: set[int], descending: bool, offset: int, limit: int
) -> None:
    """Sessions that ended fall out of an order, wherever they stood; their count follows."""
    order = arranged(make_world(facts).sessions(), "bytes_in", descending, make_filter(server="a"))
    whole = order.window(0, 1000)
    order.leave_out(gone, len(gone))
    left = [number for number in whole if number not in gone]
    assert len(order) == len(left)
    assert order.window(offset, limit) == left[offset : offset + limit]


def test_only_what_meets_the_condition_is_in_the_order() -> None:
    """Numbers of sessions that do not match never appear."""
    world = make_world([("10.0.0.9", server, "x", 1, 0, False) for server in "abab"])
    assert arranged(world.sessions(), "age", True, make_filter(server="b")).window(0, 10) == [2, 4]


def test_descending_age_is_the_oldest_first() -> None:
    """As the word says."""
    world = make_world([("10.0.0.9", "a", "x", 1, 0, False)] * 3)
    assert arranged(world.sessions(), "age", descending=True).window(0, 10) == [1, 2, 3]
    assert arranged(world.sessions(), "age").window(0, 10) == [3, 2, 1]


def test_each_step_looks_at_no_more_than_a_slice() -> None:
    """Between two steps the forwarder gets its turn: there are as many as there are slices, and more to merge."""
    world = make_world([("10.0.0.9", "a", "x", 1, 0, False)] * 10)
    many = world.sessions() * 1000
    steps = list(Order(0.0, 0).arrange(many, Filter(), "idle", False))
    assert len(steps) > len(many) / query.SLICE


def test_an_unknown_order_is_refused_with_a_remedy() -> None:
    """It says what there is to sort by."""
    with pytest.raises(BadQuery, match="write one of age, idle"):
        arranged([], "size")


def test_few_orders_are_kept_and_none_longer_than_asked() -> None:
    """The oldest gives way; one that is too old is not used."""
    orders = Orders()
    for number in range(ORDERS_KEPT + 1):
        orders.put(number, Order(float(number), 0))
    orders.put(1, Order(9.0, 0))
    assert orders.get(0, 0.0) is None
    assert [orders.get(number, 0.0) is None for number in range(1, ORDERS_KEPT + 1)] == [False] * ORDERS_KEPT
    assert orders.get(1, 9.0) is not None
    assert orders.get(1, 9.5) is None
