"""One engine at a time works with a state directory, and a dead one with none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.survival.lock import LOCK, StateInUse, locked, running

DIES = """
import os, pathlib, sys
from engine.survival.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    os._exit(1)
"""


def test_one_engine_at_a_time_has_a_state_directory(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert running(tmp_path) == os.getpid()
        told = rf"another engine \(pid {os.getpid()}\) works with {tmp_path}: stop it"
        with pytest.raises(StateInUse, match=told), locked(tmp_path):
            pass
    assert running(tmp_path) is None
    with locked(tmp_path):
        pass


def test_a_dead_engine_has_it_no_longer(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], check=False).returncode == 1
    assert (tmp_path / LOCK).exists()
    assert running(tmp_path) is None


def test_without_a_place_for_the_lock_the_engine_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with locked(tmp_path / "file" / "below"):
        pass


def test_a_full_disk_keeps_nobody_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with locked(tmp_path):
        assert running(tmp_path) == 0, "nobody can read who has it, but it is had"
        with pytest.raises(StateInUse), locked(tmp_path):
            pass
