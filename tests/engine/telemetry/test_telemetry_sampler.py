"""Rates and series tell what happened, and nothing of times in which there was nothing to tell."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry_world import Sessions, real_server, service

from engine.control.calls import MAX_POINTS
from engine.control.protocol import MAX_MESSAGE_BYTES
from engine.control.status import Rates, Series
from engine.sessions.service import Service
from engine.telemetry.counts import Counts
from engine.telemetry.meter import Meter
from engine.telemetry.sampler import STEP_S, Named, Sampler, everything

AT = 1_767_614_671.0


class Watched:
    """Services under a sampler; times count from 0."""

    def __init__(self, *services: Service) -> None:
        self.services = list(services)
        self.sampler = Sampler(0.0)
        self.now_s = 0.0

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.sampler.sample(self.services, self.now_s, AT + self.now_s)

    def series(self, service: str = "", server: str = "", points: int = MAX_POINTS) -> Series:
        named = [thing for thing in everything(self.services) if thing[:2] == (service, server)]
        (found,) = self.sampler.series(named, points)
        return found


def test_rates_are_per_second_over_the_last_five_and_fall_to_nothing_after() -> None:
    server = real_server("a")
    vpn = service(server)
    watched = Watched(vpn)
    watched.pass_time(3)
    server.new_sessions = vpn.new_sessions = 10
    server.ended_sessions = vpn.ended_sessions = 5
    server.packets_in, server.bytes_in, server.packets_out, server.bytes_out = 100, 10_000, 200, 50_000
    watched.pass_time(5)
    expected = Rates(
        new_sessions=2.0, ended_sessions=1.0, packets_in=20.0, bytes_in=2000.0, packets_out=40.0, bytes_out=10_000.0
    )
    for thing in (server, vpn, None):
        assert watched.sampler.rates(thing) == expected
    watched.pass_time(1)
    assert watched.sampler.rates(vpn) == Rates()


def test_the_first_seconds_count_from_the_start_and_before_them_nothing_is_told() -> None:
    server = real_server("a")
    watched = Watched(service(server))
    server.bytes_in = 3000
    assert watched.sampler.rates(server) == Rates()
    watched.pass_time(2)
    assert watched.sampler.rates(server).bytes_in == 1500.0


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_counter_that_restarts_or_falls_never_gives_a_negative_rate(totals: list[int]) -> None:
    meter = Meter(0.0)
    gained = 0
    for now_s, total in enumerate(totals, 1):
        gained += meter.sample(Counts(bytes_in=total), float(now_s)).bytes_in
        assert meter.rates().bytes_in >= 0
    rises = sum(max(0, now - before) for before, now in zip([0, *totals], totals, strict=False))
    assert gained == rises


def test_a_point_is_the_mean_over_five_seconds_and_the_sessions_at_their_end() -> None:
    server, sessions = real_server("a"), Sessions()
    vpn = service(server)
    watched = Watched(vpn)
    watched.pass_time(4)
    assert watched.series("vpn", "a").sessions == []
    first = sessions.begin(vpn, server, 4.0, packets_in=20)
    sessions.begin(vpn, server, 4.0, packets_in=30)
    watched.pass_time(1)
    sessions.table.close(first)
    watched.pass_time(5)
    for names in (("", ""), ("vpn", ""), ("vpn", "a")):
        told = watched.series(*names)
        assert (told.service, told.server) == names
        assert (told.step_s, told.until_at) == (5.0, AT + 10)
        assert (told.sessions, told.new_sessions, told.packets_in) == ([2, 1], [0.4, 0.0], [10.0, 0.0])
    assert watched.sampler.rates(server).ended_sessions == 0.2


def test_a_server_added_later_has_a_shorter_past_and_its_points_lie_at_the_same_times() -> None:
    old, new = real_server("a"), real_server("b", now_s=12.0)
    vpn = service(old)
    watched = Watched(vpn)
    watched.pass_time(12)
    vpn.servers["b"] = new
    new.bytes_in = 3000
    watched.pass_time(8)
    assert (len(watched.series("vpn", "a").bytes_in), len(watched.series("vpn", "b").bytes_in)) == (4, 2)
    assert watched.series("vpn", "b").bytes_in == [1000.0, 0.0]
    assert watched.series("vpn", "b").until_at == watched.series("vpn", "a").until_at


def test_a_server_that_is_made_anew_under_its_old_name_starts_anew() -> None:
    vpn = service(real_server("a"))
    watched = Watched(vpn)
    vpn.servers["a"].bytes_in = 9000
    watched.pass_time(10)
    vpn.keep_counters_of(vpn.servers["a"])
    vpn.servers["a"] = real_server("a")
    watched.pass_time(5)
    assert watched.series("vpn", "a").bytes_in == [0.0]
    assert watched.series("vpn").bytes_in == [1800.0, 0.0, 0.0]


def test_a_removed_service_is_forgotten_and_takes_nothing_from_the_engine() -> None:
    kept, removed = service(real_server("a")), service(real_server("b"), name="partners")
    kept.new_sessions, removed.new_sessions = 10, 40
    watched = Watched(kept, removed)
    watched.pass_time(5)
    watched.services.remove(removed)
    kept.new_sessions += 5
    watched.pass_time(5)
    assert watched.series().new_sessions == [10.0, 1.0]
    assert watched.sampler.series([("partners", "", removed)], 10) == []
    assert watched.sampler.rates(removed) == Rates()


def test_an_hour_is_kept_and_the_latest_points_are_given() -> None:
    server = real_server("a")
    watched = Watched(service(server))
    for number in range(MAX_POINTS + 3):
        server.established = number
        watched.pass_time(5)
    told = watched.series("vpn", "a")
    assert told.sessions == list(range(3, MAX_POINTS + 3))
    assert len(told.bytes_out) == len(told.packets_in) == MAX_POINTS
    assert MAX_POINTS * STEP_S == 3600
    assert watched.series("vpn", "a", points=2).sessions == [MAX_POINTS + 1, MAX_POINTS + 2]


@pytest.mark.parametrize("servers", [5, 200, 1500])
def test_an_answer_for_everything_fits_a_message_however_much_there_is(servers: int) -> None:
    vpn = service(*(real_server(f"server-with-a-long-name-{number}") for number in range(servers)))
    watched = Watched(vpn)
    for number in range(1, 101):
        for server in vpn.servers.values():
            server.established = 100_000 + number
            server.new_sessions = number * 777
            server.packets_in, server.packets_out = number * 7_777_777, number * 8_888_888
            server.bytes_in, server.bytes_out = number * 7_777_777_777, number * 8_888_888_888
        if number % 5 == 0:
            watched.pass_time(5)
    named: list[Named] = everything(watched.services)
    told = watched.sampler.series(named, MAX_POINTS)
    assert len(told) == servers + 2
    assert all(one.sessions for one in told)
    assert len(msgspec.json.encode(told)) < MAX_MESSAGE_BYTES
