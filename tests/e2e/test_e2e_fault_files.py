"""What tunnels lose when a disk is full or read-only, or the configuration file is garbage: nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from harness.balancer import PROGRAM, service_name
from harness.fault_table import Report
from harness.faults import under_load
from harness.lab import Lab
from harness.namespaces import CommandFailed, run
from harness.plan import Family
from harness.settings import (
    FAST,
    SLOW_SNAT,
    UNDER,
    Setting,
    as_installed,
    await_alarm,
    await_no_alarm,
    events,
    in_settings,
    tidy,
)
from harness.waiting import eventually

from engine.control.calls import ListSessions
from engine.control.records import SessionQuery
from engine.wording import listed
from ikeconsole.exits import Exit

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

Trouble: TypeAlias = Callable[[Path], AbstractContextManager[None]]

DISK_BYTES = 1 << 20
CHANGES = 60
"""More than fit into what is left of the block that a file ends in."""


@pytest.fixture
def mounts(fast_lab: Lab) -> Iterator[ExitStack]:
    """What is put here is undone at the end, when the engine is gone."""
    with ExitStack() as undone:
        yield undone
        tidy(fast_lab)


@contextmanager
def disk(directory: Path) -> Iterator[None]:
    """Have a directory lie on a small disk of its own."""
    run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "none", str(directory)])
    try:
        yield
    finally:
        run(["umount", "--lazy", str(directory)])


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """Leave no room on the disk of a directory."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Have a directory refuse whatever is opened for writing from now on."""
    run(["mount", "--bind", str(directory), str(directory)])
    try:
        run(["mount", "-o", "remount,bind,ro", str(directory)])
        yield
    finally:
        run(["umount", "--lazy", str(directory)])


def spis(lab: Lab) -> dict[str, str]:
    """Every session's SPI and server."""
    return {row.spi_i: row.server for row in lab.balancer.ask(ListSessions(query=SessionQuery())).rows}


def await_unsaved(lab: Lab) -> str:
    """Have things happen that are to be saved until they cannot be; what an operator reads."""
    busy = lab.clients["n1"]
    busy.connect(lab.vip[Family.IPV4])
    for _ in range(CHANGES):
        if "sessions-unsaved" in {alarm.kind for alarm in lab.balancer.status().alarms}:
            break
        busy.rekey("child")
    return await_alarm(lab, "sessions-unsaved")


@pytest.mark.parametrize(
    ("setting", "trouble"),
    [(FAST, full), (SLOW_SNAT, full), (FAST, read_only)],
    ids=["full, fast path", "full, slow path", "read-only, fast path"],
)
def test_state_that_cannot_be_saved_is_told_and_saved_when_it_can_be(
    fast_lab: Lab, mounts: ExitStack, setting: Setting, trouble: Trouble, report_fault: Report
) -> None:
    """Without a restart, and with one in the middle of it: what was saved before is whole and good for that."""
    lab, state_dir = fast_lab, fast_lab.balancer.state_dir
    mounts.enter_context(disk(state_dir))
    setting.configure(lab)
    setting.start(lab)
    clients = setting.connect(lab)
    name = "state_dir on a full disk" if trouble is full else "state_dir read-only"
    with under_load(lab, clients) as load:
        with trouble(state_dir):
            told = await_unsaved(lab)
            assert ("no space is left for" if trouble is full else "is mounted read-only") in told
            load.go_on(50)
        await_no_alarm(lab, "sessions-unsaved")
        assert any("sessions are saved again" in text for text in events(lab, "sessions-saved"))
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    report_fault(name, str(setting), outcome, told=as_installed(lab, told))
    before = spis(lab)
    with under_load(lab, clients) as load, trouble(state_dir):
        lab.balancer.stop(signal.SIGKILL)
        setting.start(lab)
        assert spis(lab) == before, "the new client among them, since it could be saved"
        told = await_alarm(lab, "sessions-unsaved")
        outcome = load.outcome()
        lab.balancer.command("drain", f"{service_name(Family.IPV4)}/rs1")
        assert any("was not kept" in text for text in events(lab, "history-failed"))
    assert outcome.sessions_lost == 0
    assert not (setting.path == "fast" and outcome.lost), outcome
    report_fault(f"{name}, and the engine killed and started", str(setting), outcome, told=as_installed(lab, told))


@in_settings(FAST, SLOW_SNAT)
def test_a_configuration_that_finds_no_room_is_refused_and_the_old_one_is_whole(
    fast_lab: Lab, mounts: ExitStack, setting: Setting, tmp_path: Path, report_fault: Report
) -> None:
    lab, path = fast_lab, fast_lab.balancer.config_path
    place = tmp_path / "disk"
    place.mkdir()
    mounts.enter_context(disk(place))
    path.unlink(missing_ok=True)
    path.symlink_to(place / path.name)
    mounts.callback(path.unlink)
    setting.configure(lab)
    setting.start(lab)
    clients = setting.connect(lab)
    before, server = path.read_bytes(), f"{service_name(Family.IPV4)}/rs1"
    with under_load(lab, clients) as load:
        with full(place):
            with pytest.raises(
                CommandFailed, match=f"no space is left for {place}: free some, then save again"
            ) as refused:
                lab.balancer.command("weight", server, "7")
            assert refused.value.status == Exit.FAILED
            assert path.read_bytes() == before
            assert {file.name for file in place.iterdir()} == {path.name, "ballast"}
            assert lab.balancer.server(Family.IPV4, "rs1").weight == 100
            assert lab.balancer.command("config", "diff").endswith("is what the engine runs\n")
            load.go_on(50)
        lab.balancer.command("weight", server, "7")
        assert lab.balancer.server(Family.IPV4, "rs1").weight == 7
        outcome = load.outcome()
    assert b"weight = 7" in path.read_bytes()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    told = str(refused.value).partition(": exit 1: ")[2].replace(str(place), "/etc/ikeconsole")
    report_fault("the disk of config.toml is full", str(setting), outcome, told=as_installed(lab, told))


@dataclass(frozen=True, slots=True)
class Accident:
    """What becomes of a configuration file, and what the refusal says of it after the file's name."""

    what: str
    spoil: Callable[[bytes], bytes]
    named: str
    starts: bool = False
    """Whether an engine may start with it: one that has nothing yet has nothing to lose."""


NO_SERVICE = ":service: there is none any more"
ACCIDENTS = (
    Accident("binary", lambda text: bytes(range(256)) * 16, r": is not UTF-8 text at line \d+"),
    Accident("emptied", lambda text: b"", NO_SERVICE, starts=True),
    Accident("without its services", lambda text: b"[engine]\nmax_sessions = 9\n", NO_SERVICE, starts=True),
    Accident("cut short", lambda text: text[: text.rindex(b'"')], r":\d+:\d+: "),
    Accident(
        "wrong in a key",
        lambda text: text.replace(b"\nsource =", b"\nsauce =", 1),
        rf":service\.{service_name(Family.IPV4)}\.sauce: ",
    ),
)


@pytest.mark.usefixtures("mounts")
@in_settings(FAST, SLOW_SNAT)
def test_garbage_in_the_configuration_file_changes_nothing(
    fast_lab: Lab, setting: Setting, report_fault: Report
) -> None:
    """Reloaded by command and by signal; whoever looks, by command or in the console, is told what is wrong where."""
    lab, path = fast_lab, fast_lab.balancer.config_path
    setting.configure(lab)
    setting.start(lab)
    clients = setting.connect(lab)
    good, before = path.read_bytes(), lab.balancer.status().config_digest
    with under_load(lab, clients) as load:
        for accident in ACCIDENTS:
            path.write_bytes(accident.spoil(good))
            with pytest.raises(CommandFailed, match=f"{path}{accident.named}") as refused:
                lab.balancer.command("reload")
            assert "the running configuration stays" in str(refused.value)
            refusals = len(events(lab, "config-refused"))
            lab.balancer.hang_up()
            eventually(lambda known=refusals: len(events(lab, "config-refused")) > known, "SIGHUP is refused as well")
            assert path.read_bytes() == accident.spoil(good), "what the operator will want to look at is left alone"
            load.go_on()
        with pytest.raises(CommandFailed, match=r"was changed on disk meanwhile[^$]*\+sauce"):
            lab.balancer.command("weight", f"{service_name(Family.IPV4)}/rs1", "7")
        told = await_alarm(lab, "config-changed", saying=f"service.{service_name(Family.IPV4)}.sauce")
        assert lab.balancer.status().config_digest == before
        path.write_bytes(good)
        assert "has not changed" in lab.balancer.command("reload")
        await_no_alarm(lab, "config-changed")
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    report_fault(
        f"config.toml is {listed([one.what for one in ACCIDENTS])}", str(setting), outcome, told=as_installed(lab, told)
    )


@pytest.mark.usefixtures("mounts")
def test_an_engine_does_not_start_with_garbage_and_tunnels_go_on_without_it(
    fast_lab: Lab, report_fault: Report
) -> None:
    """On the fast path, for as long as it takes somebody to correct the file."""
    lab, path = fast_lab, fast_lab.balancer.config_path
    FAST.configure(lab)
    FAST.start(lab)
    clients = FAST.connect(lab)
    good = path.read_bytes()
    with under_load(lab, clients) as load:
        lab.balancer.stop(signal.SIGKILL)
        for accident in (one for one in ACCIDENTS if not one.starts):
            path.write_bytes(accident.spoil(good))
            with pytest.raises(CommandFailed, match=f"{path}{accident.named}") as refused:
                lab.balancer.node.namespace.run(*UNDER, *PROGRAM, "engine", "-c", str(path))
            assert refused.value.status == Exit.BAD_CONFIG
            load.go_on()
        path.write_bytes(good)
        FAST.start(lab)
        outcome = load.outcome()
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
    told = str(refused.value).partition(": exit 3: ")[2]
    report_fault("config.toml is garbage when the engine starts", str(FAST), outcome, told=as_installed(lab, told))
