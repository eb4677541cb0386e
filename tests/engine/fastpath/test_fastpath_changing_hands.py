"""What the kernel has of flows that end, lose their source or take each other's place while it is being read."""

from __future__ import annotations

import tracemalloc

import pytest
from fastpath_doubles import KernelDouble

from engine.config.schema import Source
from engine.fastpath import reconciler
from engine.fastpath.entries import entries
from engine.fastpath.layout import FLOW_V4
from engine.sessions.flow import Flow, Port
from engine.sessions.session import Session
from tests.engine.sessions.session_world import KEEPALIVE, NAT_T, Exchange, World, at, encrypted, informational, init

CLIENT = "198.51.100.7"
OTHER = "198.51.100.8"


def world(kernel: KernelDouble, **rest: object) -> World:
    built = World(fast_path=kernel, **rest)  # type: ignore[arg-type]
    built.now_s = 1_000.0
    return built


def nat_t_flow(session: Session) -> Flow:
    (flow,) = [flow for flow in session.flows if flow.port is Port.NAT_T]
    return flow


def from_client(flow: Flow) -> bytes:
    wanted = entries(flow)
    assert wanted is not None
    return wanted.from_client


def change_source(here: World, flow: Flow) -> None:
    """Take a flow's socket and source away, as a configuration with other snat addresses does."""
    here.upstreams.close(flow)
    flow.source = None
    here.forwarder.fast_path.offer(flow)


@pytest.fixture
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "CREDITED_AT_ONCE", 1)


@pytest.mark.usefixtures("_one_at_a_time")
def test_a_flow_that_ends_while_all_are_read_is_not_credited_with_what_its_successor_carries() -> None:
    """Its slot in the table is another flow's by the time its turn comes."""
    kernel = KernelDouble(slots=1)
    here = world(kernel)
    here.connect(CLIENT, 1)
    ended = here.connect(OTHER, 2)
    gone = nat_t_flow(ended)
    kernel.settle(here.now_s)
    reading = kernel.reconciler.credit_all(lambda: here.now_s)
    next(reading)
    here.table.close(ended)
    kernel.settle(here.now_s)
    counted = gone.packets_in, gone.bytes_in, gone.server.fast_flows
    successor = nat_t_flow(here.connect("198.51.100.9", 3))
    kernel.settle(here.now_s)
    kernel.forward(from_client(successor), 700, packets=7)
    assert sum(reading) == 1
    assert (gone.packets_in, gone.bytes_in, gone.server.fast_flows) == counted


@pytest.mark.usefixtures("_one_at_a_time")
def test_a_dead_server_s_flow_that_changes_its_source_meanwhile_takes_nothing_from_others() -> None:
    """Only where it is now it is taken from; whoever has its former slots keeps them."""
    kernel = KernelDouble(slots=1)
    here = world(kernel, source=Source.SNAT, servers="ab")
    first, other, second = (here.connect(f"198.51.100.{number}", number) for number in (1, 2, 3))
    kernel.settle(here.now_s)
    assert (first.server, second.server) == (here.server("a"), here.server("a"))
    leaving = kernel.reconciler.abandon(here.server("a"), here.now_s)
    next(leaving)
    change_source(here, nat_t_flow(second))
    kernel.settle(here.now_s)
    newcomer, _ = (here.connect(f"198.51.100.{number}", number) for number in (4, 5))
    assert newcomer.server is here.server("b")
    kernel.settle(here.now_s)
    assert here.client_sends(at("198.51.100.3", 4500), NAT_T, KEEPALIVE) == "a"
    kernel.settle(here.now_s)
    for _ in leaving:
        pass
    here.evacuate("a")
    kernel.settle(here.now_s)
    assert {from_client(nat_t_flow(session)) for session in (other, newcomer)} <= kernel.tuples().keys()
    assert (len(kernel.tuples()), len(kernel.reconciler)) == (4, 2)


def test_a_dead_server_s_flows_are_not_handed_over_while_its_sessions_are_being_ended() -> None:
    """There may be very many, and something may happen to any of them meanwhile."""
    kernel = KernelDouble()
    here = world(kernel)
    flow = nat_t_flow(here.connect(CLIENT, 1))
    here.probe(flow.server.name, ok=False)
    for _ in kernel.reconciler.abandon(flow.server, here.now_s):
        pass
    kernel.offer(flow)
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}


def test_a_flow_without_a_source_is_the_slow_path_s_until_it_has_another_one() -> None:
    """Nothing of its former source stays in the kernel, and it counts as waiting, not as refused."""
    kernel = KernelDouble()
    here = world(kernel, source=Source.SNAT)
    flow = nat_t_flow(here.connect(CLIENT, 1))
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 2
    change_source(here, flow)
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}
    assert not +kernel.reconciler.refused
    here.client_sends(at(CLIENT, 4500), NAT_T, KEEPALIVE)
    kernel.settle(here.now_s)
    wanted = entries(flow)
    assert wanted is not None
    assert kernel.tuples() == {wanted.from_client: wanted.to_server, wanted.from_server: wanted.to_client}


def test_a_source_port_is_the_flow_s_that_has_the_socket() -> None:
    """One that lost it, for want of room for sockets, leaves the kernel, or it would get the other's answers."""
    kernel = KernelDouble()
    here = world(kernel, source=Source.SNAT, servers="a")
    loser = nat_t_flow(here.connect(CLIENT, 1))
    kernel.settle(here.now_s)
    here.upstreams.close(loser)
    winner = nat_t_flow(here.connect(OTHER, 2))
    winner.source = loser.source
    kernel.offer(winner)
    kernel.settle(here.now_s)
    wanted = entries(winner)
    assert wanted is not None
    assert kernel.tuples() == {wanted.from_client: wanted.to_server, wanted.from_server: wanted.to_client}
    loser.source = None
    here.client_sends(at(CLIENT, 4500), NAT_T, KEEPALIVE)
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 4


def test_refused_is_how_many_flows_are_kept_out_now() -> None:
    """However often the kernel was asked to take them."""
    kernel = KernelDouble()
    here, other = world(kernel), world(kernel)
    holder = here.connect(CLIENT, 1)
    other.connect(CLIENT, 1)
    kernel.settle(here.now_s)
    for _ in range(3):
        kernel.reconciler.look_at_waiting()
        kernel.settle(here.now_s)
    assert +kernel.reconciler.refused == {"ambiguous": 1}
    here.table.close(holder)
    kernel.settle(here.now_s)
    kernel.reconciler.look_at_waiting()
    kernel.settle(here.now_s)
    assert not +kernel.reconciler.refused
    assert len(kernel.reconciler) == 1


def test_a_step_looks_at_a_bounded_number_of_flows_also_where_none_changes_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever begins very many sessions does not hold the forwarder up."""
    monkeypatch.setattr(reconciler, "LOOKED_AT_ONCE", 3)
    kernel = KernelDouble()
    here = world(kernel)
    for number in range(1, 9):
        here.connect(f"198.51.100.{number}", number)
    kernel.settle(here.now_s)
    kernel.reconciler.offer_held()
    assert [kernel.reconciler.step(here.now_s) for _ in range(3)] == [True, True, False]


def test_a_tunnel_that_the_kernel_has_just_seen_alive_is_not_taken_for_deleted() -> None:
    """What looked like the deletion of its IKE SA was something else; another one then begins on the same flow."""
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect(CLIENT, 1)
    kernel.settle(here.now_s)
    client, flow = at(CLIENT, 4500), nat_t_flow(session)
    here.client_sends(client, NAT_T, encrypted(1, Exchange.INFORMATIONAL, size_bytes=80, message_id=2))
    here.server_sends(client, NAT_T, informational(1, from_server=True, response=True))
    assert session.deleted_s == here.now_s
    here.now_s += 10
    kernel.forward(from_client(flow), 100)
    here.client_sends(at(CLIENT, 500), Port.IKE, init(2))
    assert session in here.sessions()


def test_flows_that_come_and_go_for_days_take_no_memory() -> None:
    """What was noted of a slot when its flow left is forgotten, also where no other flow comes to that slot."""
    kernel = KernelDouble(slots=4096)
    table = kernel.tables[FLOW_V4]
    tracemalloc.start()
    try:
        for number in range(4_000):
            kernel.now_s += 1
            slot = table.insert(number.to_bytes(12, "big"), bytes(12), 0, 0)
            assert slot is not None
            table.remove(slot)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 20_000
