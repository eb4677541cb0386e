"""Which flows the kernel gets, and when it must give them back."""

from __future__ import annotations

from collections import Counter

import pytest
from fastpath_doubles import KernelDouble
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.config.schema import PersistenceKind, Source
from engine.fastpath import reconciler
from engine.fastpath.entries import entries
from engine.fastpath.found import found_flows
from engine.fastpath.layout import FLOW_V4, PROBES, TICK_S
from engine.fastpath.reconciler import CHANGED_AT_ONCE, Reconciler
from engine.fastpath.totals import Totals
from engine.sessions.flow import Flow, Port
from engine.sessions.query import path
from engine.sessions.session import Phase, Session
from engine.sessions.table import AUTH_QUIET_S
from engine.wire.header import Exchange
from tests.engine.sessions.session_world import (
    KEEPALIVE,
    NAT_T,
    REFUSAL_BYTES,
    World,
    at,
    audit,
    auth,
    auth_answer,
    encrypted,
    esp,
    informational,
    init,
    init_answer,
    phase_of,
)

CLIENT = bytes([198, 51, 100, 7])
SERVICE = bytes([203, 0, 113, 10])
SERVER = bytes([10, 0, 0, 11])
PORT = (4500).to_bytes(2, "big")


def world(kernel: KernelDouble, **rest: object) -> World:
    built = World(fast_path=kernel, **rest)  # type: ignore[arg-type]
    built.now_s = 1_000.0
    return built


def nat_t_flow(session: Session) -> Flow:
    (flow,) = [flow for flow in session.flows if flow.port is Port.NAT_T]
    return flow


def test_an_established_tunnel_is_two_entries_that_keep_the_client_s_address() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    assert kernel.tuples() == {
        CLIENT + SERVICE + PORT + PORT: CLIENT + SERVER + PORT + PORT,
        SERVER + CLIENT + PORT + PORT: SERVICE + CLIENT + PORT + PORT,
    }


def test_with_snat_the_server_sees_the_address_and_port_that_the_slow_path_had() -> None:
    kernel = KernelDouble()
    here = world(kernel, source=Source.SNAT)
    session = here.connect("198.51.100.7", 1, nat_t_port=61_000)
    kernel.settle(here.now_s)
    source = nat_t_flow(session).source
    assert source is not None
    stand_in, its_port = bytes(map(int, source[0].split("."))), source[1].to_bytes(2, "big")
    client_port = (61_000).to_bytes(2, "big")
    assert kernel.tuples() == {
        CLIENT + SERVICE + client_port + PORT: stand_in + SERVER + its_port + PORT,
        SERVER + stand_in + PORT + its_port: SERVICE + CLIENT + PORT + client_port,
    }


def begin(here: World, *, answer: bytes) -> Session:
    """A client's handshake as far as the real server's answer to IKE_AUTH, which has not left yet."""
    first, then = at("198.51.100.7", 500), at("198.51.100.7", 4500)
    here.client_sends(first, Port.IKE, init(1))
    here.server_sends(first, Port.IKE, init_answer(1))
    here.client_sends(then, NAT_T, auth(1))
    here.server_sends(then, NAT_T, answer)
    return here.only_session()


def read_all(kernel: KernelDouble, here: World) -> None:
    """Read the counters of every flow."""
    for _ in kernel.reconciler.credit_all(lambda: here.now_s):
        pass


def test_a_tunnel_s_first_esp_is_the_kernel_s() -> None:
    """In a storm of reconnects it would cost the slow path as much as the handshake does."""
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    assert session.half_open
    assert len(kernel.tuples()) == 2
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    read_all(kernel, here)
    assert session.phase is Phase.ESTABLISHED
    assert session.esp_in == (7,)


def test_a_tunnel_s_answer_is_not_even_queued_before_the_kernel_has_its_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of the other port, or very many, have those that are queued leave at any moment."""
    kernel = KernelDouble()
    here = world(kernel)
    listener, had = here.listeners[NAT_T], list[int]()
    reply = listener.reply

    def queue(flow: Flow, size: int, now_s: float) -> None:
        had.append(len(kernel.tuples()))
        reply(flow, size, now_s)

    monkeypatch.setattr(listener, "reply", queue)
    begin(here, answer=auth_answer(1))
    assert had == [2]


def test_a_tunnel_without_traffic_is_established_when_nothing_else_comes() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    read_all(kernel, here)
    assert session.half_open
    here.later(AUTH_QUIET_S + 1)
    assert session.phase is Phase.ESTABLISHED


def test_whom_the_server_refuses_gets_no_place_in_the_kernel() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    begin(here, answer=auth_answer(1, REFUSAL_BYTES))
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}


def test_only_what_passes_by_itself_says_that_a_tunnel_is_up() -> None:
    """EAP waits for a person, whose client keeps its NAT awake: then it goes on with IKE_AUTH."""
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 1)
    read_all(kernel, here)
    assert phase_of(session) is Phase.ESTABLISHED
    here.client_sends(at("198.51.100.7", 4500), NAT_T, encrypted(1, Exchange.IKE_AUTH, message_id=2))
    assert phase_of(session) is Phase.AUTH
    read_all(kernel, here)
    assert phase_of(session) is Phase.AUTH
    assert here.server("a").established == 0


def test_whoever_asks_for_a_session_whose_esp_the_kernel_has_finds_it_established() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    here.table.refresh(session, here.now_s)
    assert phase_of(session) is Phase.AUTH
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    here.table.refresh(session, here.now_s)
    assert phase_of(session) is Phase.ESTABLISHED


def test_a_tunnel_is_up_for_the_schedulers_long_before_all_counters_are_read() -> None:
    """A session that is being set up weighs a quarter: a server that has just got it would get the next one, too."""
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    kernel.reconciler.listen(here.now_s)
    assert phase_of(session) is Phase.AUTH
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    kernel.reconciler.listen(here.now_s)
    assert phase_of(session) is Phase.ESTABLISHED
    assert session.server.load == 1


def test_many_tunnels_that_are_being_set_up_are_listened_to_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "HEARD_AT_ONCE", 2)
    kernel = KernelDouble()
    here = world(kernel)
    hosts = [f"198.51.100.{number}" for number in range(1, 6)]
    for number, host in enumerate(hosts, 1):
        here.client_sends(at(host, 500), Port.IKE, init(number))
        here.server_sends(at(host, 500), Port.IKE, init_answer(number))
        here.client_sends(at(host, 4500), NAT_T, auth(number))
        here.server_sends(at(host, 4500), NAT_T, auth_answer(number))
        kernel.forward(bytes(map(int, host.split("."))) + SERVICE + PORT + PORT, 132, spi=number)
    counts = []
    for _ in range(4):
        kernel.reconciler.listen(here.now_s)
        counts.append(sum(server.established for server in here.service.servers.values()))
    assert counts == [2, 4, 5, 5]


def test_a_tunnel_of_which_nobody_has_read_yet_that_the_kernel_carries_it_gives_way_to_nobody() -> None:
    kernel = KernelDouble()
    here = world(kernel, max_sessions=2)
    here.connect("198.51.100.8", 2)
    here.client_sends(at("198.51.100.7", 500), Port.IKE, init(1))
    session = here.service.by_spi[1]
    here.server_sends(at("198.51.100.7", 500), Port.IKE, init_answer(1))
    here.client_sends(at("198.51.100.7", 4500), NAT_T, auth(1))
    here.server_sends(at("198.51.100.7", 4500), NAT_T, auth_answer(1))
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    assert here.client_sends(at("198.51.100.9", 500), Port.IKE, init(3)) is None
    assert here.service.drops["table-full"] == 1
    assert phase_of(session) is Phase.ESTABLISHED
    audit(here)


def test_nobody_takes_a_tunnel_off_the_fast_path_before_it_is_known_to_be_up() -> None:
    """A forged IKE_SA_INIT on its flow, sent within the second in which the kernel's counters were not read."""
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    here.client_sends(at("198.51.100.7", 4500), NAT_T, bytes(4) + init(2))
    kernel.settle(here.now_s)
    assert phase_of(session) is Phase.ESTABLISHED
    assert nat_t_flow(session).owner is session
    assert len(kernel.tuples()) == 2


def test_a_tunnel_whose_server_goes_down_right_after_its_first_esp_sleeps_like_any_other() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 132, spi=7)
    assert sum(kernel.reconciler.abandon(session.server, here.now_s)) == 1
    here.fail(session.server.name)
    kernel.settle(here.now_s)
    assert phase_of(session) is Phase.IDLE
    assert kernel.tuples() == {}
    assert session.server.fast_flows == 0


def test_a_server_that_is_disabled_right_after_its_answer_leaves_nothing_in_the_kernel() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    begin(here, answer=auth_answer(1))
    assert len(kernel.tuples()) == 2
    here.disable("a")
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}


def test_a_session_that_ends_before_its_answer_leaves_keeps_no_place_in_the_kernel() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = begin(here, answer=auth_answer(1))
    here.table.close(session)
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}
    assert kernel.reconciler.complete


def test_of_very_many_handshakes_when_the_fast_path_is_switched_on_none_is_left_out() -> None:
    kernel = KernelDouble(slots=1024)
    here = world(kernel)
    many = 2 * CHANGED_AT_ONCE
    for number in range(1, many + 1):
        first, then = at(f"198.51.100.{number}", 500), at(f"198.51.100.{number}", 4500)
        here.client_sends(first, Port.IKE, init(number))
        here.server_sends(first, Port.IKE, init_answer(number))
        here.client_sends(then, NAT_T, auth(number))
        here.server_sends(then, NAT_T, auth_answer(number))
    assert sum(kernel.reconciler.give_back(here.now_s)) == many
    kernel.now_s += 1
    for session in here.sessions():
        kernel.offer(nat_t_flow(session))
    kernel.tunnels_begin(here.now_s)
    assert len(kernel.reconciler) == CHANGED_AT_ONCE
    kernel.settle(here.now_s)
    assert len(kernel.reconciler) == many


def test_what_the_kernel_cannot_take_is_counted_once_however_often_it_was_offered() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    first, then = at("fe80::7", 500), at("fe80::7", 4500)
    here.client_sends(first, Port.IKE, init(1))
    here.server_sends(first, Port.IKE, init_answer(1))
    here.client_sends(then, NAT_T, auth(1))
    here.server_sends(then, NAT_T, auth_answer(1))
    flow = nat_t_flow(here.only_session())
    kernel.settle(here.now_s)
    kernel.reconciler.look_at_waiting()
    kernel.reconciler.beginning += [flow, flow]
    kernel.tunnels_begin(here.now_s)
    assert kernel.reconciler.refused == {"addresses": 1}
    kernel.settle(here.now_s)
    assert kernel.reconciler.refused == {"addresses": 1}


def test_half_open_sessions_and_flows_of_one_direction_stay_on_the_slow_path() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    first, then = at("198.51.100.7", 500), at("198.51.100.7", 4500)
    here.client_sends(first, Port.IKE, init(1))
    here.server_sends(first, Port.IKE, init_answer(1))
    here.client_sends(then, NAT_T, auth(1))
    kernel.settle(here.now_s)
    assert kernel.tuples() == {}
    here.server_sends(then, NAT_T, auth_answer(1))
    here.client_sends(then, NAT_T, KEEPALIVE)
    moved = at("198.51.100.9", 4500)
    here.client_sends(moved, NAT_T, auth(1))
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 2, "the way the client moved to has not been answered yet"
    here.server_sends(moved, NAT_T, auth_answer(1))
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 2, "an answer that was given before proves nothing: whoever asks again draws it"
    here.server_sends(moved, NAT_T, informational(1, from_server=True))
    kernel.reconciler.look_at_waiting()
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 4


def test_a_new_half_open_session_on_its_flow_does_not_take_a_tunnel_off_the_fast_path() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    here.client_sends(at("198.51.100.7", 4500), NAT_T, bytes(4) + init(2))
    kernel.settle(here.now_s)
    assert len(kernel.reconciler) == 1
    assert len(kernel.tuples()) == 2


def test_a_server_that_goes_down_leaves_nothing_in_the_kernel() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    for number in range(1, 9):
        here.connect(f"198.51.100.{number}", number)
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 16
    here.fail("a")
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == 8
    assert all(SERVER not in (key[:4], becomes[4:8]) for key, becomes in kernel.tuples().items())
    assert here.server("a").fast_flows == 0


def test_a_dead_server_s_flows_leave_the_kernel_before_its_sessions_end() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    for number in range(1, 9):
        here.connect(f"198.51.100.{number}", number)
    kernel.settle(here.now_s)
    assert sum(kernel.reconciler.abandon(here.server("a"), here.now_s)) == 4
    assert len(here.sessions()) == 8
    assert {key[:4] for key in kernel.tuples() if key[4:8] != SERVICE} == {bytes([10, 0, 0, 12])}


def test_what_the_kernel_forwards_counts_for_flow_session_and_server_and_keeps_the_flow_alive() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    flow, server = nat_t_flow(session), session.server
    before = flow.packets_in, flow.bytes_in, flow.packets_out, server.packets_in, server.bytes_in
    assert path(session) == "slow"
    here.later(200)
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 1_000)
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 200, age_ticks=round(100 / TICK_S))
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 1
    assert [kernel.servers.count(here.server(name)) for name in (server.name, server.name, "b")] == [2, 0, 0]
    assert kernel.servers.collect(here.service.servers.values()) == 0
    after = flow.packets_in, flow.bytes_in, flow.packets_out, server.packets_in, server.bytes_in
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1_200, 0, 2, 1_200]
    assert abs(here.now_s - 100 - flow.last_in_s) < 0.3, "the last packet passed a hundred seconds ago"
    assert (path(session), server.fast_flows) == ("fast", 1)
    here.later(150)
    assert session.flows, "350 seconds after the slow path saw it, 250 after the kernel did: not idle for 300"
    here.later(60)
    assert not session.flows
    kernel.settle(here.now_s)
    assert (kernel.tuples(), server.fast_flows) == ({}, 0)


def test_spis_of_esp_that_the_kernel_forwards_lead_to_its_session() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    for spi in (0xC1F2_A3B4, 0xC1F2_A3B4, 0xC000_0001):
        kernel.forward(CLIENT + SERVICE + PORT + PORT, 100, spi=spi)
        kernel.forward(SERVER + CLIENT + PORT + PORT, 100, spi=spi + 1)
        assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 1
    assert session.esp_in == (0xC000_0001, 0xC1F2_A3B4)
    assert session.esp_out == (0xC000_0002, 0xC1F2_A3B5)
    roamed = at("203.0.113.5", 4500)
    assert here.client_sends(roamed, NAT_T, esp(0xC000_0001)) == session.server.name
    assert here.sessions() == [session]
    here.table.close(session)
    kernel.settle(here.now_s)
    assert not here.service.by_esp


def test_esp_of_another_tunnel_on_a_flow_of_the_kernel_s_is_left_to_the_slow_path() -> None:
    """A NAT that restarts may give a client the port that another one had, whose tunnel is on another server."""
    kernel = KernelDouble()
    here = world(kernel, persistence=PersistenceKind.IKE_SPI)
    gone, stays = (here.connect("198.51.100.7", spi, ike_port=spi, nat_t_port=4499 + spi) for spi in (1, 2))
    assert gone.server is not stays.server
    ports = PORT, (4501).to_bytes(2, "big")
    kernel.settle(here.now_s)
    for spi, port in enumerate(ports, start=0xC000_0001):
        kernel.forward(CLIENT + SERVICE + port + PORT, 100, spi=spi)
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 2
    here.now_s += 60
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 100, spi=0xC000_0002)
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 2
    assert len(kernel.reconciler) == 1
    assert here.client_sends(at("198.51.100.7", 4500), NAT_T, esp(0xC000_0002)) == stays.server.name
    assert all(flow.port is Port.IKE for flow in gone.flows)
    kernel.reconciler.look_at_waiting()
    kernel.settle(here.now_s)
    assert kernel.reconciler.complete is False, "the server has not answered on the new way yet"


def test_esp_of_another_tunnel_is_noticed_by_whoever_reads_it_first() -> None:
    """A session that is on somebody's screen is read every second."""
    kernel = KernelDouble()
    here = world(kernel, persistence=PersistenceKind.IKE_SPI)
    gone, _ = (here.connect("198.51.100.7", spi, ike_port=spi, nat_t_port=4499 + spi) for spi in (1, 2))
    kernel.settle(here.now_s)
    kernel.forward(CLIENT + SERVICE + (4501).to_bytes(2, "big") + PORT, 100, spi=0xC000_0002)
    read_all(kernel, here)
    here.now_s += 60
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 100, spi=0xC000_0002)
    here.table.refresh(gone, here.now_s)
    assert len(kernel.reconciler) == 1
    assert nat_t_flow(gone).packets_in


def test_what_seemed_another_tunnel_s_is_the_kernel_s_again_once_the_server_talks() -> None:
    """Two servers chose the same SPI: both tunnels are forwarded by the kernel in the end."""
    kernel = KernelDouble()
    here = world(kernel, persistence=PersistenceKind.IKE_SPI)
    for spi in (1, 2):
        here.connect("198.51.100.7", spi, ike_port=spi, nat_t_port=4499 + spi)
    kernel.settle(here.now_s)
    first, second = CLIENT + SERVICE + PORT + PORT, CLIENT + SERVICE + (4501).to_bytes(2, "big") + PORT
    kernel.forward(first, 100, spi=0xC000_0001)
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 2
    here.now_s += 10
    kernel.forward(second, 100, spi=0xC000_0001)
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 2
    assert len(kernel.reconciler) == 1
    here.server_sends(at("198.51.100.7", 4501), NAT_T, esp(0xB000_0001))
    kernel.reconciler.look_at_waiting()
    kernel.settle(here.now_s)
    kernel.forward(second, 100, spi=0xC000_0001)
    assert sum(kernel.reconciler.credit_all(lambda: here.now_s)) == 2
    assert len(kernel.reconciler) == 2


def test_expiry_asks_the_kernel_itself_and_does_not_wait_for_the_next_sweep() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    here.now_s += 290
    kernel.forward(SERVER + CLIENT + PORT + PORT, 100)
    here.later(20)
    assert session.flows, "the kernel has just forwarded an answer"


def test_counters_that_wrap_and_flows_that_end_lose_nothing() -> None:
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    flow = nat_t_flow(session)
    key = CLIENT + SERVICE + PORT + PORT
    kernel.forward(key, 0, packets=0xFFFFFFFE)
    kernel.reconciler.refresh(flow, here.now_s)
    counted = session.ended_packets_in + sum(flow.packets_in for flow in session.flows)
    for _ in range(5):
        kernel.forward(key, 10)
    here.table.close(session)
    kernel.settle(here.now_s)
    assert session.ended_packets_in + flow.packets_in == counted + 5


@pytest.mark.parametrize(("saved", "known"), [((3, 90), (1_000, 50_000)), ((1_007, 50_700), (1_007, 50_700))])
def test_of_a_flow_that_outlived_its_engine_no_packet_of_the_kernel_s_is_forgotten(
    saved: tuple[int, int], known: tuple[int, int]
) -> None:
    """Whether what was saved is old, or has the slow path's packets besides; what passes later is added."""
    kernel = KernelDouble()
    here = world(kernel)
    flow = nat_t_flow(here.connect("198.51.100.7", 1))
    kernel.settle(here.now_s)
    key = CLIENT + SERVICE + PORT + PORT
    kernel.forward(key, 50_000, packets=1_000)
    flow.packets_in, flow.bytes_in = saved
    (found,) = found_flows(kernel.tables[FLOW_V4])
    successor = Reconciler(kernel.tables, Totals(kernel.totals.__getitem__))
    successor.adopt(flow, found, here.now_s)
    assert (flow.packets_in, flow.bytes_in) == known
    kernel.forward(key, 100, packets=2)
    successor.refresh(flow, here.now_s)
    assert (flow.packets_in, flow.bytes_in) == (known[0] + 2, known[1] + 100)


def test_a_flow_that_outlived_its_engine_is_known_by_spis_that_only_the_kernel_saw() -> None:
    """They are saved with the next change of a session: an engine that is killed has not saved the latest."""
    kernel = KernelDouble()
    here = world(kernel)
    session = here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    kernel.forward(CLIENT + SERVICE + PORT + PORT, 100, spi=0xC000_0001)
    (found,) = found_flows(kernel.tables[FLOW_V4])
    successor = Reconciler(kernel.tables, Totals(kernel.totals.__getitem__))
    successor.adopt(nat_t_flow(session), found, here.now_s)
    assert here.client_sends(at("203.0.113.5", 4500), NAT_T, esp(0xC000_0001)) == session.server.name
    assert here.sessions() == [session]


def test_a_full_table_leaves_the_rest_on_the_slow_path_and_takes_them_when_there_is_room() -> None:
    kernel = KernelDouble(slots=1)
    here = world(kernel)
    fitting = PROBES // 2
    sessions = [here.connect(f"198.51.100.{number}", number) for number in range(1, fitting + 2)]
    kernel.settle(here.now_s)
    assert len(kernel.tuples()) == PROBES
    assert kernel.reconciler.refused["no-room"] == 1
    assert len(kernel.reconciler) == fitting
    here.table.close(sessions[0])
    kernel.settle(here.now_s)
    kernel.reconciler.look_at_waiting()
    kernel.settle(here.now_s)
    assert len(kernel.reconciler) == fitting


def test_a_client_of_two_services_at_one_server_cannot_be_told_apart_by_the_kernel() -> None:
    kernel = KernelDouble()
    here, other = world(kernel), world(kernel)
    here.connect("198.51.100.7", 1)
    kernel.settle(here.now_s)
    session = other.connect("198.51.100.7", 1)
    kernel.settle(other.now_s)
    assert len(kernel.reconciler) == 1
    assert not nat_t_flow(session).fast
    assert kernel.reconciler.refused["ambiguous"] >= 1


class Churn(RuleBasedStateMachine):
    """Clients come, move their ports, lose sockets, end; the kernel holds what it should and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = KernelDouble(slots=4)
        self.world = world(self.kernel, source=Source.SNAT)
        self.spi = 0

    @rule(host=st.integers(1, 9), port=st.sampled_from([4500, 61_000]))
    def connect(self, host: int, port: int) -> None:
        self.spi += 1
        first, then = at(f"198.51.100.{host}", 500), at(f"198.51.100.{host}", port)
        if self.world.client_sends(first, Port.IKE, init(self.spi)) is None:
            return
        self.world.server_sends(first, Port.IKE, init_answer(self.spi))
        if self.world.client_sends(then, NAT_T, auth(self.spi)) is not None:
            self.world.server_sends(then, NAT_T, auth_answer(self.spi))
            self.world.client_sends(then, NAT_T, KEEPALIVE)

    @rule(host=st.integers(1, 9))
    def set_up(self, host: int) -> None:
        """As far as the answer, whose ESP the kernel has."""
        self.spi += 1
        then = at(f"198.51.100.{host}", 4500)
        if self.world.client_sends(then, NAT_T, bytes(4) + init(self.spi)) is None:
            return
        self.world.server_sends(then, NAT_T, bytes(4) + init_answer(self.spi))
        if self.world.client_sends(then, NAT_T, auth(self.spi)) is not None:
            self.world.server_sends(then, NAT_T, auth_answer(self.spi))

    @rule(which=st.integers(0, 100))
    def end(self, which: int) -> None:
        if sessions := self.world.sessions():
            self.world.table.close(sessions[which % len(sessions)])

    @rule(which=st.integers(0, 100))
    def lose_port(self, which: int) -> None:
        if flows := list(self.world.service.flows[NAT_T].values()):
            flow = flows[which % len(flows)]
            self.world.upstreams.close(flow)
            flow.source = None
            self.kernel.offer(flow)
            self.world.client_sends(flow.client, NAT_T, KEEPALIVE)

    @rule(name=st.sampled_from("ab"))
    def server_dies(self, name: str) -> None:
        self.world.evacuate(name)

    @rule(seconds=st.sampled_from([0.1, 3.0, 100.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.world.later(seconds)

    @rule()
    def step(self) -> None:
        self.kernel.now_s += 1
        self.kernel.reconciler.look_at_waiting()
        self.kernel.reconciler.step(self.world.now_s)

    @invariant()
    def whole_flows_are_counted_once(self) -> None:
        assert len(self.kernel.tuples()) == 2 * len(self.kernel.reconciler)
        for server in self.world.service.servers.values():
            flows = self.world.service.flows[NAT_T].values()
            assert server.fast_flows == sum(flow.fast for flow in flows if flow.server is server)

    @invariant()
    def what_is_refused_waits(self) -> None:
        waiting = Counter(reason for reason in self.kernel.reconciler._waiting.values() if reason)
        assert +self.kernel.reconciler.refused == waiting

    @invariant()
    def once_settled_it_is_what_the_session_table_wants(self) -> None:
        if self.kernel.reconciler.behind:
            return
        allowed = {}
        for flow in self.world.service.flows[NAT_T].values():
            if flow.source is not None and (wanted := entries(flow)):
                allowed[wanted.from_client], allowed[wanted.from_server] = wanted.to_server, wanted.to_client
        assert self.kernel.tuples().items() <= allowed.items()


Churn.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestChurn = Churn.TestCase
