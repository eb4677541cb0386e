"""What tunnels lose when the machine has no more open files, or its clock is set: nothing."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.balancer import PROBE_INTERVAL_S
from harness.fast_path import await_fast
from harness.fault_table import Report
from harness.faults import under_load
from harness.lab import Lab
from harness.plan import Family
from harness.settings import (
    FAST,
    FAST_POOL,
    SLOW_SNAT,
    Setting,
    await_alarm,
    await_no_alarm,
    events,
    in_settings,
    tidy,
)
from harness.vici import ViciError
from harness.waiting import eventually
from harness.wall_clock import WallClock

from engine.control.calls import ListSessions
from engine.control.records import SessionQuery

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

LOOKS = 30
TEN_YEARS_S = 10 * 365 * 86_400
VERIFIED_EVERY_S, LOOKED_EVERY_S = 10, 5
"""The rarest that the fast path and the slow path do by themselves."""
CAUGHT_UP_S = 0.5
"""From when the engine says that it is there until a client has had an answer."""


@pytest.fixture(autouse=True)
def _tidy(fast_lab: Lab) -> Iterator[None]:
    yield
    tidy(fast_lab)


@contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """Let a process open no file beyond those that it always has."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    free = []
    for _ in range(LOOKS):
        open_now = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
        free.append(next(number for number in range(soft) if number not in open_now))
        time.sleep(PROBE_INTERVAL_S / LOOKS)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(free), hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@in_settings(FAST, FAST_POOL, SLOW_SNAT)
def test_without_files_tunnels_go_on_and_an_operator_still_gets_in(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """For longer than anything that the engine does now and then; new clients that need a socket wait meanwhile."""
    lab, newcomer = fast_lab, fast_lab.clients["n1"]
    setting.configure(lab)
    setting.start(lab)
    clients = setting.connect(lab)
    needs_socket = setting.source == "snat" and not setting.pool
    with under_load(lab, clients) as load:
        with no_more_files(lab.balancer.pid):
            told = await_alarm(lab, "out-of-files")
            assert f"prlimit --pid {lab.balancer.pid}" in told
            assert "the engine may open no more files" in lab.balancer.command("status")
            if needs_socket:
                with pytest.raises(ViciError):
                    newcomer.connect(lab.vip[Family.IPV4], timeout_s=2)
                assert lab.balancer.service(Family.IPV4).drops["out-of-files"]
            else:
                newcomer.connect(lab.vip[Family.IPV4])
            lab.balancer.hang_up()
            time.sleep(VERIFIED_EVERY_S if setting.path == "fast" else LOOKED_EVERY_S)
            status = lab.balancer.status()
            assert {server.health for service in status.services for server in service.servers} == {"up"}
            assert status.fast_path == ("native" if setting.path == "fast" else "off")
            # A journal that could not be written anew has given its file back: one can be opened, which is too few.
            status_told = lab.balancer.command("status")
            assert "the engine may open no more files" in status_told or "sessions cannot be saved" in status_told
            load.go_on(50)
        await_no_alarm(lab, "out-of-files")
        await_no_alarm(lab, "sessions-unsaved")
        if needs_socket:
            newcomer.charon.close_all()
            newcomer.connect(lab.vip[Family.IPV4])
        newcomer.await_data()
        eventually(lambda: not lab.balancer.status().fast_path_reason or setting.path == "slow", "all is well", 12)
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    assert not events(lab, "ports-split")
    told = told.replace(str(lab.balancer.pid), "PID")
    report_fault("no more files may be opened", str(setting), outcome, told=told)


@in_settings(FAST, SLOW_SNAT)
def test_a_full_table_costs_tunnels_nothing_and_room_is_made_while_they_run(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """On the fast path with another table in the kernel, which is filled before it takes over."""
    lab, newcomer = fast_lab, fast_lab.clients["n1"]
    config = setting.configure(lab)
    lab.balancer.write(config | {"engine": config["engine"] | {"max_sessions": 2}})
    setting.start(lab)
    clients = setting.connect(lab)
    with under_load(lab, clients) as load:
        told = await_alarm(lab, "table-near-full")
        with pytest.raises(ViciError):
            newcomer.connect(lab.vip[Family.IPV4], timeout_s=2)
        (refused,) = events(lab, "table-full")
        assert "raise max_sessions" in refused
        load.go_on()
        setting.configure(lab)
        assert "reloaded" in lab.balancer.command("reload")
        newcomer.charon.close_all()
        newcomer.connect(lab.vip[Family.IPV4])
        newcomer.await_data()
        await_no_alarm(lab, "table-near-full")
        if setting.path == "fast":
            for client in (*clients, newcomer):
                await_fast(lab, client)
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    report_fault("the session table is full, and made larger by a reload", str(setting), outcome, told=told)


@pytest.mark.parametrize(
    ("setting", "ahead_s"),
    [(FAST, TEN_YEARS_S), (FAST, -TEN_YEARS_S), (SLOW_SNAT, -TEN_YEARS_S)],
    ids=["forward, fast path", "back, fast path", "back, slow path"],
)
def test_a_clock_that_is_set_ends_no_session_and_makes_none_older(
    fast_lab: Lab, setting: Setting, ahead_s: int, report_fault: Report, tmp_path: Path
) -> None:
    """While the engine runs, and while none does; on the slow path its own gap is lost, and nothing else."""
    lab, clock = fast_lab, WallClock(tmp_path)
    setting.configure(lab)
    setting.start(lab, under=clock.under)
    clients = setting.connect(lab)
    with lab.balancer.config_path.open("a") as file:
        file.write("# another one\n")
    await_alarm(lab, "config-changed")
    began_s = time.monotonic()
    with under_load(lab, clients) as load:
        clock.set_ahead(ahead_s)
        eventually(lambda: abs(lab.balancer.status().now_at - time.time() - ahead_s) < 5, "the engine has that clock")
        load.go_on(100)
        assert 0 < lab.balancer.status().up_s < 60
        ages_s = [row.age_s for row in lab.balancer.ask(ListSessions(query=SessionQuery())).rows]
        assert max(ages_s) < 60
        assert [lab.balancer.status().now_at - alarm.since_at < 60 for alarm in lab.balancer.status().alarms] == [True]
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    report_fault(f"the clock is set ten years {'on' if ahead_s > 0 else 'back'}", str(setting), outcome)
    with under_load(lab, clients) as load:
        clock.set_ahead(0)
        gone_s = time.monotonic()
        lab.balancer.stop(signal.SIGKILL)
        clock.set_ahead(-ahead_s)
        setting.start(lab, under=clock.under)
        gap_s = time.monotonic() - gone_s
        (told,) = events(lab, "sessions-adopted")
        outcome = load.outcome()
    assert outcome.sessions_lost == 0
    assert outcome.silence_s < gap_s + CAUGHT_UP_S
    assert not (setting.path == "fast" and outcome.lost), outcome
    assert "2 sessions go on" in told
    assert time.monotonic() - began_s < 60
    report_fault("the clock is set while no engine runs", str(setting), outcome, told=told)
