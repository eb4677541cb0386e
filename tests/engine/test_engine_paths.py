"""Where files are when the configuration does not say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import paths


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_roots_engine_is_where_the_system_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    monkeypatch.setenv("XDG_STATE_HOME", "/root/elsewhere")
    assert paths.default_control_socket() == Path("/run/ikeconsole/control.sock")
    assert paths.default_state_dir() == Path("/var/lib/ikeconsole")


def test_a_users_engine_is_in_the_users_own_directories(as_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.default_control_socket() == as_user / ".local" / "state" / "ikeconsole" / "control.sock"
    assert paths.default_state_dir() == as_user / ".local" / "state" / "ikeconsole"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/someone/state")
    assert paths.default_control_socket() == Path("/run/user/1234/ikeconsole/control.sock")
    assert paths.default_state_dir() == Path("/home/someone/state/ikeconsole")


def test_an_engine_that_systemd_runs_is_where_the_system_looks_for_it(
    as_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a user of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/ikeconsole")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/ikeconsole")
    assert paths.default_control_socket() == paths.SYSTEM_CONTROL_SOCKET
    assert paths.default_state_dir() == Path("/var/lib/ikeconsole")


def test_the_configuration_that_the_environment_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKECONSOLE_CONFIG", "/srv/vpn.toml")
    assert paths.find_config() == Path("/srv/vpn.toml")


@pytest.mark.parametrize(("exists", "found"), [(True, "/etc/ikeconsole/config.toml"), (False, "config.toml")])
def test_the_systems_configuration_comes_before_the_one_at_hand(
    exists: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IKECONSOLE_CONFIG", raising=False)
    monkeypatch.setattr(Path, "exists", lambda path: exists)
    assert paths.find_config() == Path(found)
