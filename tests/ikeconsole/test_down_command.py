"""down: what an engine left is removed, and one that runs keeps what it has unless told otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.survival.lock import running
from ikeconsole.commands import down
from ikeconsole.exits import Exit
from ikeconsole.main import main

HOLDS = """
import pathlib, signal, sys
from engine.survival.lock import locked
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    while signal.sigwait([signal.SIGTERM]) and sys.argv[2] != "obeys":
        pass
"""
"""Blocked, so that a signal which comes before it is waited for is not lost."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a state directory of its own, and nothing of it in the kernel."""
    path = tmp_path / "config.toml"
    path.write_text(f'[engine]\ncontrol_socket = "{tmp_path}/control.sock"\nstate_dir = "{tmp_path}"\n')

    async def nothing(state_dir: Path, control_socket: Path) -> list[str]:
        assert (state_dir, control_socket) == (tmp_path, tmp_path / "control.sock")
        return []

    monkeypatch.setattr("engine.survival.orphans.take_down", nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return path


@contextmanager
def an_engine(directory: Path, manners: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the state directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(directory), manners], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_it_says_when_there_is_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "-c", str(config)]) == Exit.OK
    assert capsys.readouterr().out == "there was nothing to remove\n"


def test_an_engine_that_runs_is_left_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with an_engine(config.parent, "obeys") as process:
        assert main(["down", "-c", str(config)]) == Exit.FAILED
        assert f"the engine (pid {process.pid}) runs: its tunnels would end" in capsys.readouterr().err
        assert process.poll() is None


def test_it_stops_the_engine_when_told_to(config: Path) -> None:
    with an_engine(config.parent, "obeys") as process:
        assert main(["down", "--stop", "-c", str(config)]) == Exit.OK
        assert running(config.parent) is None
        assert process.wait(5) == 0


def test_an_engine_that_does_not_stop_is_told(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "PATIENCE_S", 0.2)
    with an_engine(config.parent, "stubborn"):
        assert main(["down", "--stop", "-c", str(config)]) == Exit.FAILED
        assert "still runs" in capsys.readouterr().err


def test_nobody_but_root_can(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["down", "-c", str(config)]) == Exit.NO_RIGHT
