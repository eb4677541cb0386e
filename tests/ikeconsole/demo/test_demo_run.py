"""The whole demo as its user starts and ends it: real engine, real sockets, real time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from pty_shell import Shell, alive, shell, status, until

from engine.control.status import EngineStatus
from engine.net.sockets import BindError, listener
from engine.runtime import StartError
from ikeconsole.client import connect
from ikeconsole.demo import run, simulation
from ikeconsole.demo.layout import SERVICE_ADDRESSES, Layout, choose_ports
from ikeconsole.exits import Exit, Failure

PATIENCE_S = 20.0


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name: the path of a socket in a directory below it has no room for that of a test."""
    return tmp_path_factory.mktemp("demo")


@contextmanager
def demo(directory: Path, terminal: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """The demo where no console can be shown; its temporary files go below a directory of ours."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ikeconsole", "demo"],
        stdin=terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(directory), "TERM": "dumb"},
        cwd=Path(__file__).parents[3],
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def demo_console(directory: Path, *, real: bool = False, **environment: str) -> Iterator[Shell]:
    """The demo on a terminal, its console a stand-in unless `real`."""
    ours = {"TMPDIR": str(directory), "XDG_CONFIG_HOME": str(directory / "preferences")}
    with shell("demo", real=real, **ours, **environment) as terminal:
        yield terminal


def left_behind(directory: Path) -> list[Path]:
    return list(directory.glob("ikeconsole-demo-*"))


def layout_in(directory: Path) -> Layout:
    layout = Layout(directory, *choose_ports())
    layout.write_configuration()
    return layout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_without_a_trace(number: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout
        assert " session" in process.stdout.readline()
        (directory,) = tmp_path.iterdir()
        assert directory.joinpath("control.sock").is_socket()
        process.send_signal(number)
        _, complaints = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complaints) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_a_lost_terminal_that_shows_no_console_ends_it_and_it_cleans_up(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with demo(tmp_path, terminal=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"simulated on loopback" not in shown:
            shown += os.read(ours, 65_536)
        os.close(ours)
        process.wait(timeout=PATIENCE_S)
    assert list(tmp_path.iterdir()) == []


def test_the_console_shows_traffic_and_a_failure_obeys_keys_and_leaves_nothing(tmp_path: Path) -> None:
    with demo_console(tmp_path, real=True) as terminal:
        terminal.until("SERVICE")
        terminal.until("A simulation")
        (directory,) = left_behind(tmp_path)
        began_s = time.monotonic()
        terminal.until("is down: no answer")
        assert time.monotonic() - began_s < 12
        engine = status(directory / "control.sock")
        terminal.pid = engine.pid
        assert engine.sessions > 20
        assert min(engine.rates.bytes_in, engine.rates.bytes_out) > 1000
        terminal.type("2")
        terminal.until("CLIENT")
        terminal.until("127.0.100.")
        terminal.type("q")
        assert terminal.left() == Exit.OK
        assert not alive(terminal.pid)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_console_and_all_else(tmp_path: Path, number: signal.Signals) -> None:
    with demo_console(tmp_path) as terminal:
        assert "hosted=False" in terminal.shown()
        os.kill(terminal.pid, number)
        assert terminal.left() == Exit.OK
    assert left_behind(tmp_path) == []


def test_a_lost_terminal_ends_the_console_and_all_else(tmp_path: Path) -> None:
    with demo_console(tmp_path) as terminal:
        terminal.shown()
        terminal.hang_up()
        until(lambda: not alive(terminal.pid))
    assert left_behind(tmp_path) == []


def test_a_console_that_hangs_ends_with_a_signal_all_the_same(tmp_path: Path) -> None:
    with demo_console(tmp_path, STANDIN_DEADLINE_S="0.5") as terminal:
        terminal.shown()
        (directory,) = left_behind(tmp_path)
        terminal.type("h")
        until(lambda: "HANGING" in directory.joinpath("log").read_text())
        os.kill(terminal.pid, signal.SIGTERM)
        until(lambda: not alive(terminal.pid))
    assert left_behind(tmp_path) == []


def test_a_console_that_breaks_leaves_the_log_and_the_terminal_says_where(tmp_path: Path) -> None:
    with demo_console(tmp_path) as terminal:
        terminal.shown()
        terminal.type("x")
        assert terminal.left() == Exit.FAILED
        (directory,) = left_behind(tmp_path)
        assert f"the log says why: {directory}/log".encode() in terminal.output
        assert b"ZeroDivisionError" not in terminal.output
        assert "ZeroDivisionError: a screen broke" in directory.joinpath("log").read_text()
        assert not alive(terminal.pid)


def test_clients_are_balanced_and_talk(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)

    async def ask() -> EngineStatus:
        async with connect(layout.control_socket) as client:
            return await client.status()

    def balanced(status: EngineStatus) -> bool:
        """Which clients come first is left to chance."""
        vpn, partners = status.services
        each = [server.sessions for server in vpn.servers]
        return status.sessions >= 20 and min(each) > 2 and partners.servers[0].sessions > 0

    with simulation.running(layout):
        deadline_s = time.monotonic() + PATIENCE_S
        while not balanced(status := trio.run(ask)) and time.monotonic() < deadline_s:
            time.sleep(0.1)
    assert balanced(status)
    traffic = status.services[0].traffic
    assert traffic.bytes_out > traffic.bytes_in > 0


def test_a_port_taken_meanwhile_is_named_and_nothing_keeps_running(tmp_path: Path) -> None:
    layout = layout_in(tmp_path)
    with (
        listener(SERVICE_ADDRESSES["partners"], layout.ike_port),
        pytest.raises(StartError, match=f"port {layout.ike_port} is taken"),
        simulation.running(layout),
    ):
        pytest.fail("it started all the same")
    assert choose_ports() == (layout.ike_port, layout.nat_t_port)


def test_without_a_port_it_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_free() -> tuple[int, int]:
        raise BindError("every port is taken")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("ikeconsole.demo.choose_ports", none_free)
    with pytest.raises(Failure, match="cannot start: every port is taken") as failure:
        run()
    assert failure.value.code is Exit.NO_RIGHT
    assert list(tmp_path.iterdir()) == []


def test_when_it_breaks_the_log_stays_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(socket: Path, interrupted: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("ikeconsole.demo.display.show", broken)
    with pytest.raises(Failure) as failure:
        run()
    (directory,) = tmp_path.iterdir()
    assert failure.value.code is Exit.FAILED
    assert str(directory / "log") in failure.value.details[0]
    assert "RuntimeError: out of order" in directory.joinpath("log").read_text()
