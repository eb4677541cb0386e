"""The console and its engine as processes on a real terminal: how it is left, lost and broken, and what goes on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from pty_shell import Shell, alive, parent_of, shell, state, status, until
from running_engine import CLIENT, HOSTS, VPN, service, write_config
from served_engine import ServedEngine
from vpn_peers import NAT_T_PORT, Server, client

from ikeconsole.exits import Exit


class Console:
    """A console that was started with a configuration, and its engine."""

    def __init__(self, directory: Path, terminal: Shell) -> None:
        self.config = directory / "config.toml"
        self.control_socket = directory / "control.sock"
        self.log_file = directory / "state" / "engine.log"
        self.terminal = terminal

    def goes_on(self) -> None:
        """Require that the engine, without the console, answers and forwards."""
        until(lambda: "goes on without a console" in self.log())
        assert status(self.control_socket).pid == self.terminal.pid
        assert os.getsid(self.terminal.pid) == self.terminal.pid
        until(lambda: not any(file.startswith("/dev/pts/") for file in self.open_files()))
        self.forwards()

    def forwards(self) -> None:
        """Require that a client reaches a real server."""

        async def use() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve)
                with client(CLIENT, VPN) as vpn_client:
                    await vpn_client.connect()
                nursery.cancel_scope.cancel()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            async with trio.open_nursery() as nursery:
                await Server(HOSTS["a"]).start(nursery)
                task_status.started()

        trio.run(use)

    def open_files(self) -> list[str]:
        """What the process has open."""
        found = []
        for link in Path(f"/proc/{self.terminal.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(os.readlink(link))
        return found

    def ends_on_sigterm(self) -> None:
        """Require that the engine without a console stops as any does."""
        os.kill(self.terminal.pid, signal.SIGTERM)
        self.ended()

    def ended(self) -> None:
        """Require that nothing is left of it."""
        until(lambda: not alive(self.terminal.pid))
        assert not self.control_socket.exists()

    def log(self) -> str:
        """The engine's log."""
        return self.log_file.read_text() if self.log_file.exists() else ""


@contextmanager
def console(directory: Path, **environment: str) -> Iterator[Console]:
    """A console that is shown, beside an engine that it started."""
    write_config(directory / "config.toml", service(servers="a"))
    with shell("-c", str(directory / "config.toml"), **environment) as terminal:
        assert "hosted=True" in terminal.shown()
        yield Console(directory, terminal)


def test_quitting_with_stop_ends_the_engine_and_leaves_nothing(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        assert status(beside.control_socket).pid == beside.terminal.pid
        beside.terminal.type("s")
        assert beside.terminal.left() == Exit.OK
        assert b"The engine has stopped." in beside.terminal.output
        beside.ended()


def test_quitting_into_the_background_leaves_an_engine_that_reloads_and_stops(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("b")
        assert beside.terminal.left() == Exit.OK
        said = beside.terminal.until("The engine goes on, pid ")
        assert said.startswith(f"{beside.terminal.pid}: `ikeconsole -c {beside.config}` shows it again")
        beside.goes_on()

        def weight() -> int:
            return status(beside.control_socket).services[0].servers[0].weight

        beside.config.write_text(beside.config.read_text().replace('name = "a"\n', 'name = "a"\nweight = 7\n'))
        os.kill(beside.terminal.pid, signal.SIGHUP)
        until(lambda: weight() == 7)
        beside.config.write_text("nonsense")
        os.kill(beside.terminal.pid, signal.SIGHUP)
        until(lambda: f"{beside.config}:1:9: " in beside.log())
        assert weight() == 7
        beside.ends_on_sigterm()


def test_a_closed_terminal_leaves_the_engine_forwarding_and_it_can_be_attached_to(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.hang_up()
        beside.goes_on()
        assert "Traceback" not in beside.log()
        with shell("-c", str(beside.config)) as again:
            assert "hosted=False" in again.shown()
            again.type("b")
            assert again.left() == Exit.OK
        beside.goes_on()
        beside.ends_on_sigterm()


def test_a_terminal_that_vanishes_without_a_signal_is_noticed(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(servers="a"))
    with shell("-c", str(tmp_path / "config.toml"), controlling=False) as terminal:
        terminal.shown()
        beside = Console(tmp_path, terminal)
        terminal.hang_up()
        beside.goes_on()
        assert terminal.process.wait(10) == Exit.OK
        beside.ends_on_sigterm()


def test_the_real_console_goes_with_its_terminal_and_the_engine_goes_on(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(servers="a"))
    with shell("-c", str(tmp_path / "config.toml"), real=True, HOME=str(tmp_path)) as terminal:
        terminal.until("SERVICE")
        beside = Console(tmp_path, terminal)
        terminal.pid = status(beside.control_socket).pid
        terminal.hang_up()
        beside.goes_on()
        assert "Traceback" not in beside.log()
        beside.ends_on_sigterm()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_waiting_parent_sends_the_console_away_only(tmp_path: Path, number: signal.Signals) -> None:
    with console(tmp_path) as beside:
        os.kill(parent_of(beside.terminal.pid), number)
        assert beside.terminal.left() == Exit.OK
        beside.goes_on()
        beside.ends_on_sigterm()


@pytest.mark.parametrize("whom", ["the process", "its whole job"])
def test_the_first_sigterm_sends_the_console_away_and_the_second_stops_the_engine(tmp_path: Path, whom: str) -> None:
    with console(tmp_path) as beside:
        pid = beside.terminal.pid
        os.kill(pid if whom == "the process" else -os.getpgid(pid), signal.SIGTERM)
        assert beside.terminal.left() == Exit.OK
        beside.goes_on()
        beside.ends_on_sigterm()


def test_when_the_parent_is_killed_the_engine_goes_on_and_the_terminal_is_sane(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        os.kill(parent_of(beside.terminal.pid), signal.SIGKILL)
        beside.goes_on()
        beside.terminal.until("LEFT 137")
        beside.terminal.until("\x1b[?1049l")
        beside.ends_on_sigterm()


def test_a_terminal_that_stops_reading_stops_neither_forwarding_nor_the_departure(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("\x13l")
        until(lambda: "FLOODING" in beside.log())
        beside.forwards()
        assert "FLOODED" not in beside.log()
        os.kill(beside.terminal.pid, signal.SIGTERM)
        beside.goes_on()
        assert "the console did not end" not in beside.log()
        # It reads again: now the parent can put it in order.
        assert beside.terminal.left() == Exit.OK
        beside.ends_on_sigterm()


def test_a_console_that_hangs_is_left_behind(tmp_path: Path) -> None:
    with console(tmp_path, STANDIN_DEADLINE_S="0.5") as beside:
        beside.terminal.type("h")
        until(lambda: "HANGING" in beside.log())
        os.kill(beside.terminal.pid, signal.SIGTERM)
        beside.goes_on()
        assert beside.terminal.left() == Exit.OK
        assert "the console did not end" in beside.log()
        beside.ends_on_sigterm()


def test_a_console_that_breaks_says_where_the_reason_is_and_the_engine_goes_on(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("x")
        assert beside.terminal.left() == Exit.FAILED
        said = beside.terminal.until("The console broke; ")
        assert said.startswith(f"{beside.log_file} says why.\r\nThe engine goes on, pid {beside.terminal.pid}")
        assert b"ZeroDivisionError" not in beside.terminal.output
        assert "ZeroDivisionError: a screen broke" in beside.log()
        beside.goes_on()
        beside.ends_on_sigterm()


def test_a_killed_console_leaves_a_sane_terminal_and_says_what_happened(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("k")
        assert beside.terminal.left() == 128 + signal.SIGKILL
        assert b"were ended by SIGKILL" in beside.terminal.output


def test_an_engine_that_breaks_is_told_when_the_console_is_left(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("d")
        until(lambda: "the engine broke" in beside.log())
        assert alive(beside.terminal.pid)
        beside.terminal.type("b")
        assert beside.terminal.left() == Exit.FAILED
        assert beside.terminal.until("The engine has ended: ").startswith("TrioInternalError")
        until(lambda: not alive(beside.terminal.pid))


def test_nothing_suspends_a_process_with_an_engine(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("\x1a")
        os.kill(-os.getpgid(beside.terminal.pid), signal.SIGTSTP)
        beside.terminal.type("e")
        beside.terminal.until("STRAYED")
        assert state(beside.terminal.pid) != "T"
        beside.forwards()
        beside.terminal.type("s")
        assert beside.terminal.left() == Exit.OK


def test_what_is_written_to_standard_error_goes_to_the_log_and_not_over_the_screen(tmp_path: Path) -> None:
    with console(tmp_path) as beside:
        beside.terminal.type("e")
        beside.terminal.until("STRAYED")
        assert "a stray word" in beside.log()
        assert b"a stray word" not in beside.terminal.output
        beside.terminal.type("s")
        assert beside.terminal.left() == Exit.OK


def test_an_interrupt_while_the_engine_starts_starts_none(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(servers="a"))
    with shell("-c", str(tmp_path / "config.toml"), STANDIN_NEVER_READY="1") as terminal:
        terminal.until("HELD")
        terminal.type("\x03")
        assert terminal.left() > 128
        assert b"Traceback" not in terminal.output
    assert not (tmp_path / "control.sock").exists()


def test_a_bad_configuration_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(scheduler="guess"))
    with shell("-c", str(tmp_path / "config.toml")) as terminal:
        assert terminal.left() == Exit.BAD_CONFIG
        assert f"{tmp_path}/config.toml:service.vpn.scheduler: ".encode() in terminal.output
        assert b"\x1b[" not in terminal.output


def test_a_taken_port_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(servers="a"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((VPN, NAT_T_PORT))
        with shell("-c", str(tmp_path / "config.toml")) as terminal:
            assert terminal.left() == Exit.NO_RIGHT
            assert f"UDP {VPN} port {NAT_T_PORT} is taken by another program".encode() in terminal.output
            assert b"\x1b[" not in terminal.output


def test_an_attached_console_leaves_the_engine_alone(engine: ServedEngine) -> None:
    with shell("attach", "--socket", str(engine.socket), "--read-only") as terminal:
        assert "read_only=True hosted=False" in terminal.shown()
        terminal.type("s")
        assert terminal.left() == Exit.OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_attached_console_ends_with_a_signal_and_a_sane_terminal(
    engine: ServedEngine, number: signal.Signals
) -> None:
    with shell("--socket", str(engine.socket)) as terminal:
        terminal.shown()
        os.kill(terminal.pid, number)
        assert terminal.left() == 128 + number


def test_an_attached_console_goes_with_its_terminal(engine: ServedEngine) -> None:
    with shell("attach", "--socket", str(engine.socket)) as terminal:
        terminal.shown()
        terminal.hang_up()
        until(lambda: not alive(terminal.pid))


def test_an_attached_console_that_breaks_says_where_the_reason_is(engine: ServedEngine, tmp_path: Path) -> None:
    with shell("attach", "--socket", str(engine.socket), HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.shown()
        terminal.type("x")
        assert terminal.left() == Exit.FAILED
        path = terminal.until("The console broke; ").split(" says why")[0]
        assert "ZeroDivisionError: a screen broke" in Path(path).read_text()


def test_attaching_to_no_engine_ends_with_5_and_what_to_do(tmp_path: Path) -> None:
    with shell("attach", "--socket", str(tmp_path / "none.sock")) as terminal:
        assert terminal.left() == Exit.UNREACHABLE
        assert b"ikeconsole engine" in terminal.output


def test_a_dumb_terminal_is_told_what_to_use_instead(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", service(servers="a"))
    with shell("-c", str(tmp_path / "config.toml"), TERM="dumb") as terminal:
        assert terminal.left() == Exit.FAILED
        assert b"ikeconsole status --watch" in terminal.output


def test_without_any_configuration_a_terminal_shows_how_to_begin(tmp_path: Path) -> None:
    absent = {"IKECONSOLE_CONFIG": str(tmp_path / "absent.toml"), "XDG_RUNTIME_DIR": str(tmp_path)}
    with shell(**absent) as terminal:
        assert terminal.left() == Exit.OK
        assert b"ikeconsole init" in terminal.output
