"""The engine as systemd runs it: a process that reports its state, obeys signals, and ends with a telling code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio
from running_engine import CLIENT, HOSTS, VPN, service, write_config
from vpn_peers import NAT_T_PORT, Server, client

from ikeconsole.client import connect

ROOT = Path(__file__).parents[2]
START_S = 30.0


class Systemd:
    """Starts the engine and listens to what it notifies."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.config = directory / "config.toml"
        self.control_socket = directory / "control.sock"
        self._notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._notify.bind(str(directory / "notify.sock"))
        self._notify.settimeout(START_S)
        self._stderr = stack.enter_context((directory / "stderr").open("w+b"))
        self._stack = stack
        self._address = str(directory / "notify.sock")

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the engine; whatever happens, it does not outlive the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ikeconsole", "engine", "-c", str(self.config)],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": self._address, **environment},
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def told(self) -> str:
        """The next thing that the engine notifies, other than its status line."""
        while (message := self._notify.recv(4096).decode()).startswith("STATUS="):
            pass
        return message

    def hears_nothing(self, for_s: float) -> bool:
        """Whether the engine notifies nothing for so long, from the last word on that waits."""
        self._notify.settimeout(0)
        with suppress(BlockingIOError):
            while self._notify.recv(4096):
                pass
        self._notify.settimeout(for_s)
        try:
            self._notify.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._notify.settimeout(START_S)
        return False

    def log(self) -> str:
        """What the engine wrote to standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with ExitStack() as stack:
        yield Systemd(tmp_path, stack)


def test_the_engine_reports_its_life_reloads_on_sighup_and_stops_on_sigterm(systemd: Systemd) -> None:
    async def reweighted() -> int:
        async with connect(systemd.control_socket) as control:
            return (await control.status()).services[0].servers[0].weight

    write_config(systemd.config, service())
    engine = systemd.start()
    assert systemd.told() == "READY=1"
    assert trio.run(reweighted) == 100

    text = systemd.config.read_text()
    systemd.config.write_text(text.replace('name = "a"\n', 'name = "a"\nweight = 7\n'))
    engine.send_signal(signal.SIGHUP)
    assert systemd.told().startswith("RELOADING=1")
    assert systemd.told() == "READY=1"
    assert trio.run(reweighted) == 7

    systemd.config.write_text("nonsense")
    engine.send_signal(signal.SIGHUP)
    assert systemd.told().startswith("RELOADING=1")
    assert systemd.told() == "READY=1"
    assert f"{systemd.config}:1:9: " in systemd.log()
    assert trio.run(reweighted) == 7

    engine.send_signal(signal.SIGTERM)
    assert systemd.told() == "STOPPING=1"
    assert engine.wait(START_S) == 0
    assert not systemd.control_socket.exists()


def test_a_tunnel_is_served_by_the_process_and_sigint_stops_it_too(systemd: Systemd) -> None:
    async def use() -> None:
        async with trio.open_nursery() as nursery:
            server = Server(HOSTS["a"])
            await server.start(nursery)
            with client(CLIENT, VPN) as vpn_client:
                await vpn_client.connect()
            assert server.ike_sas == 1
            nursery.cancel_scope.cancel()

    write_config(systemd.config, service(servers="a"))
    engine = systemd.start()
    assert systemd.told() == "READY=1"
    trio.run(use)
    engine.send_signal(signal.SIGINT)
    assert engine.wait(START_S) == 0
    assert "Traceback" not in systemd.log()


def test_the_watchdog_hears_from_an_engine_that_runs_and_not_from_one_that_is_stopped(systemd: Systemd) -> None:
    write_config(systemd.config, service())
    engine = systemd.start(WATCHDOG_USEC="800000")
    assert systemd.told() == "READY=1"
    assert {systemd.told() for _ in range(3)} == {"WATCHDOG=1"}
    engine.send_signal(signal.SIGSTOP)
    os.waitpid(engine.pid, os.WUNTRACED)
    assert systemd.hears_nothing(1.0)
    engine.send_signal(signal.SIGCONT)
    assert systemd.told() == "WATCHDOG=1"


def test_an_invalid_configuration_ends_with_3_and_every_problem(systemd: Systemd) -> None:
    write_config(systemd.config, service(scheduler="guess", adress=VPN))
    assert systemd.start().wait(START_S) == 3
    lines = systemd.log().splitlines()
    assert all(line.startswith(f"{systemd.config}:service.vpn") for line in lines)
    assert {line.split(": ")[0].rpartition(".")[2] for line in lines} == {"scheduler", "adress"}


def test_a_taken_port_ends_with_4_and_what_to_do(systemd: Systemd) -> None:
    write_config(systemd.config, service())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((VPN, NAT_T_PORT))
        assert systemd.start().wait(START_S) == 4
    assert f"UDP {VPN} port {NAT_T_PORT} is taken by another program" in systemd.log()
    assert "Traceback" not in systemd.log()
    assert not systemd.control_socket.exists()
