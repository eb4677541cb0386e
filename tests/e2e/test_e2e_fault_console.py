"""What tunnels lose while a console ends as nobody chose: with its terminal, by a signal, or with its engine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import settings
from harness.fault_table import Report
from harness.faults import Outcome, under_load
from harness.lab import Lab
from harness.settings import FAST, FAST_SNAT, SLOW, SLOW_SNAT, Setting, adoption_told, in_settings
from harness.waiting import eventually

from ikeconsole.client import EngineUnreachable
from tests.ikeconsole.pty_shell import Shell, alive, shell

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

WATCHED_S = 1.0
IDLE_SHARE = 0.3
"""Of a core, that an engine without load and without console may take; one that spins takes all of it."""


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for lab in request.node.funcargs.values():
        if isinstance(lab, Lab):
            settings.tidy(lab)


class Console:
    """A console on a terminal of its own, below a shell as after `ssh`."""

    def __init__(self, terminal: Shell) -> None:
        terminal.until("SERVICE")
        self.terminal = terminal
        self.started = child_of(terminal.process.pid)
        """What the shell waits for."""

    def terminal_closes(self) -> None:
        self.terminal.hang_up()

    def is_hung_up(self) -> None:
        os.kill(self.started, signal.SIGHUP)
        # It puts its terminal in order, for which somebody must read.
        self.terminal.until("LEFT")

    def is_killed(self) -> None:
        os.kill(self.started, signal.SIGKILL)
        self.terminal.until("LEFT 137")


WAYS = {
    "the terminal of {} closes, as with a lost SSH connection": Console.terminal_closes,
    "{} gets SIGHUP": Console.is_hung_up,
    "{} is killed": Console.is_killed,
}


@in_settings(SLOW)
def test_an_attached_console_takes_nothing_with_it(
    fast_lab: Lab, tmp_path: Path, setting: Setting, report_fault: Report
) -> None:
    setting.configure(fast_lab)
    setting.start(fast_lab)
    engine, clients = fast_lab.balancer.pid, setting.connect(fast_lab)
    for told, happens in WAYS.items():
        with (
            under_load(fast_lab, clients) as load,
            shell("attach", "--socket", str(fast_lab.balancer.socket), real=True, HOME=str(tmp_path)) as terminal,
        ):
            console = Console(terminal)
            load.go_on()
            happens(console)
            eventually(lambda pid=console.started: not alive(pid), "the console has ended")
            outcome = load.outcome()
        lost_nothing(outcome)
        report_fault(told.format("an attached console"), str(setting), outcome)
    assert fast_lab.balancer.status().pid == engine
    is_at_rest(engine)


@pytest.mark.parametrize("told", WAYS, ids=lambda told: told.format("it"))
@in_settings(FAST, SLOW_SNAT)
def test_the_engine_that_a_console_started_goes_on_without_it(
    fast_lab: Lab, tmp_path: Path, setting: Setting, told: str, report_fault: Report
) -> None:
    """Not even on the slow path is a packet lost, though it is the same process that lets go of its terminal."""
    with console_with_engine(fast_lab, setting, tmp_path) as (console, engine):
        with under_load(fast_lab, setting.connect(fast_lab)) as load:
            WAYS[told](console)
            eventually(lambda: not alive(console.started), "the shell has its terminal back")
            eventually(lambda: not holds_terminal(engine), "the engine has let go of the terminal")
            outcome = load.outcome()
        lost_nothing(outcome)
        assert fast_lab.balancer.status().pid == engine
        is_at_rest(engine)
    log = fast_lab.balancer.state_dir / "engine.log"
    assert "the engine goes on without a console" in log.read_text()
    report_fault(
        told.format("the ikeconsole that started the engine"),
        str(setting),
        outcome,
        told="in the log: the engine goes on without a console",
    )


@in_settings(FAST, FAST_SNAT)
def test_killed_together_console_and_engine_leave_the_fast_path(
    fast_lab: Lab, tmp_path: Path, setting: Setting, report_fault: Report
) -> None:
    with (
        console_with_engine(fast_lab, setting, tmp_path) as (console, engine),
        under_load(fast_lab, setting.connect(fast_lab)) as load,
    ):
        os.kill(engine, signal.SIGKILL)
        console.terminal.until("engine and console were ended by SIGKILL; `ikeconsole` starts them again")
        load.go_on()
        setting.start(fast_lab)
        outcome = load.outcome()
    lost_nothing(outcome)
    report_fault(
        "console and engine, one process, are killed",
        str(setting),
        outcome,
        told=adoption_told(fast_lab),
    )


@contextmanager
def console_with_engine(lab: Lab, setting: Setting, home: Path) -> Iterator[tuple[Console, int]]:
    """A console that started an engine, and the process of both; whatever is left of it ends with the block."""
    setting.configure(lab)
    with lab.balancer.node.namespace.entered():
        terminal = Shell("-c", str(lab.balancer.config_path), real=True, HOME=str(home))
    try:
        console = Console(terminal)
        terminal.pid = eventually(lambda: engine_of(lab), "the engine's servers are up", timeout_s=20)
        yield console, terminal.pid
        if alive(terminal.pid):
            os.kill(terminal.pid, signal.SIGTERM)
            eventually(lambda: not alive(terminal.pid), "the engine has ended")
    finally:
        terminal.close()


def engine_of(lab: Lab) -> int:
    """The engine's process, once all servers are up and it is known which path there is; else 0."""
    try:
        status = lab.balancer.status()
    except EngineUnreachable:
        return 0
    up = all(server.health == "up" for service in status.services for server in service.servers)
    return status.pid if up and "is starting" not in status.fast_path_reason else 0


def child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def holds_terminal(pid: int) -> bool:
    return any(os.readlink(file).startswith("/dev/pts/") for file in Path(f"/proc/{pid}/fd").iterdir() if file.exists())


def is_at_rest(pid: int) -> None:
    """Whoever is left after a console does not wait for it in a busy loop."""
    before_s = cpu_s(pid)
    time.sleep(WATCHED_S)
    assert cpu_s(pid) - before_s < IDLE_SHARE * WATCHED_S


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lost_nothing(outcome: Outcome) -> None:
    assert (outcome.lost, outcome.sessions_lost) == (0, 0), outcome
