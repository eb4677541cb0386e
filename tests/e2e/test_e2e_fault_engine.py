"""What tunnels lose while the engine is killed, started by halves, changed and upgraded: nothing that it can help."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import msgspec
import pytest
from harness import settings
from harness.fault_table import Report
from harness.faults import DATAGRAM_EVERY_S, PING_EVERY_S, Outcome, under_load
from harness.lab import Lab
from harness.memory_limit import memory_limit
from harness.namespaces import CommandFailed
from harness.plan import Family
from harness.settings import (
    FAST,
    FAST_SNAT,
    SLOW,
    SLOW_SNAT,
    UNDER,
    Setting,
    adoption_told,
    as_installed,
    events,
    in_settings,
)
from harness.waiting import eventually

from engine.fastpath.pins import Pins, digest_of, instance_name
from engine.fastpath.program import OBJECT
from engine.survival.journal import FIRST_LINE, FORMAT, first_line, frame, parse_journal
from engine.survival.saving import JOURNAL
from ikeconsole.exits import Exit

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

KILLS = 20
START_S = 2.0
"""What a start takes at most, but for that of the probes."""
SEED = 6
RESUMED_WITHIN_S = 0.3
"""After the next engine is there: the next packet and its way to and fro, on a busy machine."""
SPARE_BYTES = 60 << 20
FIELDS_0_1_0 = 28
"""How many a session had, with its tag."""


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for lab in request.node.funcargs.values():
        if isinstance(lab, Lab):
            settings.tidy(lab)


def lost_nothing(outcome: Outcome) -> None:
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome


@in_settings(FAST, FAST_SNAT)
def test_killed_twenty_times_while_it_starts_and_while_it_runs(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """At any moment: what a half-started engine leaves behind is good for the next one."""
    setting.configure(fast_lab)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    chance = random.Random(SEED)
    moments_s = sorted(chance.uniform(0.2, START_S) for _ in range(KILLS))
    chance.shuffle(moments_s)
    with under_load(fast_lab, clients) as load:
        for moment_s in moments_s:
            fast_lab.balancer.stop(signal.SIGKILL)
            fast_lab.balancer.begin(*UNDER)
            time.sleep(moment_s)
        fast_lab.balancer.await_ready()
        outcome = load.outcome()
    lost_nothing(outcome)
    report_fault(
        f"the engine is killed {KILLS} times, 0.2 to {START_S:g} s after its start",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@in_settings(SLOW, SLOW_SNAT)
def test_on_the_slow_path_only_what_is_sent_while_no_engine_is_there_is_lost(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    setting.configure(fast_lab)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    gaps_s = []
    with under_load(fast_lab, clients) as load:
        for _ in range(3):
            killed_s = time.monotonic()
            fast_lab.balancer.stop(signal.SIGKILL)
            setting.start(fast_lab)
            gaps_s.append(time.monotonic() - killed_s)
            load.go_on()
        outcome = load.outcome()
    assert outcome.sessions_lost == 0
    lost_s = sum(gaps_s) + len(gaps_s) * RESUMED_WITHIN_S
    assert 0 < outcome.lost <= lost_s * packets_per_s(len(clients)), gaps_s
    assert outcome.silence_s <= max(gaps_s) + RESUMED_WITHIN_S
    report_fault(
        f"the engine is killed {len(gaps_s)} times and started again at once",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@in_settings(FAST, FAST_SNAT)
def test_restarted_with_another_configuration(fast_lab: Lab, setting: Setting, report_fault: Report) -> None:
    """A real server and a service more, other weights, another scheduler: what was there stays where it is."""
    config = setting.configure(fast_lab)
    added = [service["real_server"].pop() for service in config["service"]]
    fast_lab.balancer.write(config)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    for service, server in zip(config["service"], added, strict=True):
        service["real_server"][0]["weight"] = 7
        # In front of the other: what is known by its place in a list would now be known as somebody else.
        service["real_server"].insert(0, server)
        service["scheduler"] = "round-robin"
    config["service"].insert(0, {**config["service"][0], "name": "another", "address": second_address(fast_lab)})
    with under_load(fast_lab, clients) as load:
        fast_lab.balancer.stop()
        fast_lab.balancer.write(config)
        setting.start(fast_lab)
        outcome = load.outcome()
    lost_nothing(outcome)
    assert {service.scheduler for service in fast_lab.balancer.status().services} == {"round-robin"}
    report_fault(
        "restarted with another configuration: a service and a server more, weight, scheduler",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@in_settings(FAST, FAST_SNAT)
def test_upgraded_from_a_version_that_saved_less_and_had_another_program(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    setting.configure(fast_lab)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    journal, pins = fast_lab.balancer.state_dir / JOURNAL, Pins(instance_name(fast_lab.balancer.state_dir))
    with under_load(fast_lab, clients) as load:
        fast_lab.balancer.stop()
        journal.write_bytes(as_version_0_1_0_wrote_it(journal.read_bytes()))
        os.rename(pins.directory / digest_of(OBJECT), pins.directory / "0123456789abcdef")
        load.go_on()
        setting.start(fast_lab)
        outcome = load.outcome()
    lost_nothing(outcome)
    assert events(fast_lab, "sessions-unusable") == []
    report_fault(
        "upgraded: sessions as the version before saved them, another XDP program",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@in_settings(FAST)
def test_sessions_in_a_format_of_the_future_are_set_aside(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """What the kernel forwards goes on all the same."""
    setting.configure(fast_lab)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    journal = fast_lab.balancer.state_dir / JOURNAL
    with under_load(fast_lab, clients) as load:
        fast_lab.balancer.stop()
        newer = FIRST_LINE % (FORMAT + 1) + journal.read_bytes().removeprefix(first_line())
        journal.write_bytes(newer)
        setting.start(fast_lab)
        outcome = load.outcome()
    lost_nothing(outcome)
    (told,) = events(fast_lab, "sessions-unusable")
    assert f"was written by another version, in format {FORMAT + 1}; this version reads {FORMAT}" in told
    assert journal.with_name(f"{JOURNAL}.unusable-1").read_bytes() == newer
    report_fault(
        "gone back to a version that cannot read what the later one saved",
        str(setting),
        outcome,
        told=f"sessions-unusable: {as_installed(fast_lab, told)}",
    )


@in_settings(FAST, FAST_SNAT)
def test_killed_by_the_kernel_for_lack_of_memory(fast_lab: Lab, setting: Setting, report_fault: Report) -> None:
    setting.configure(fast_lab)
    with memory_limit() as limit:
        setting.start(fast_lab, under=limit.under)
        clients = setting.connect(fast_lab)
        with under_load(fast_lab, clients) as load:
            limit.leave(SPARE_BYTES)
            with limit.filled(2 * SPARE_BYTES):
                eventually(fast_lab.balancer.has_ended, "the kernel has killed the engine")
            load.go_on()
            setting.start(fast_lab)
            outcome = load.outcome()
    lost_nothing(outcome)
    report_fault(
        "killed by the kernel for lack of memory",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@in_settings(FAST, SLOW)
def test_a_second_engine_is_refused_and_changes_nothing(fast_lab: Lab, setting: Setting, report_fault: Report) -> None:
    config = setting.configure(fast_lab)
    setting.start(fast_lab)
    clients = setting.connect(fast_lab)
    with under_load(fast_lab, clients) as load:
        with pytest.raises(CommandFailed, match=r"another engine .* listens on") as same_socket:
            fast_lab.balancer.start_another(*UNDER)
        elsewhere = str(fast_lab.balancer.state_dir.with_name("other.sock"))
        fast_lab.balancer.write({**config, "engine": {**config["engine"], "control_socket": elsewhere}})
        with pytest.raises(CommandFailed, match=r"another engine .* works with") as same_state:
            fast_lab.balancer.start_another(*UNDER)
        outcome = load.outcome()
    lost_nothing(outcome)
    assert same_socket.value.status == same_state.value.status == Exit.NO_RIGHT
    told = str(same_socket.value).rpartition("ikeconsole: ")[2].replace(str(fast_lab.balancer.pid), "PID")
    told = told.replace(str(fast_lab.balancer.socket), "/run/ikeconsole/control.sock")
    report_fault("a second engine is started with the same files", str(setting), outcome, told=told)


def packets_per_s(clients: int) -> float:
    return clients / PING_EVERY_S + 1 / DATAGRAM_EVERY_S


def second_address(lab: Lab) -> str:
    """Another of the balancer's own addresses."""
    return lab.topology.snat[2][Family.IPV4]


def as_version_0_1_0_wrote_it(content: bytes) -> bytes:
    """A journal whose sessions have no field that was added since; tests/data has one that it did write."""
    kept = parse_journal(content)
    assert kept.moment is not None
    assert kept.sessions
    sessions = [msgspec.to_builtins(session)[:FIELDS_0_1_0] for session in kept.sessions.values()]
    return first_line() + frame(kept.moment, [*kept.records.values(), *sessions])
