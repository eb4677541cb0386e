"""A save replaces the whole file or nothing, and never somebody else's change."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.load import Loaded, load
from engine.config.problems import ConfigError
from engine.config.save import ConflictError, SaveError, save

OLD = "[engine]\nmax_sessions = 10\n"
NEW = "[engine]\nmax_sessions = 20\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    path = tmp_path / "config.toml"
    path.write_text(OLD)
    return load(path)


def assert_untouched(loaded: Loaded) -> None:
    assert loaded.path.read_text() == OLD
    assert [entry.name for entry in loaded.path.parent.iterdir()] == ["config.toml"]


def test_a_saved_text_is_on_disk_and_returned_as_loaded(loaded: Loaded) -> None:
    saved = save(loaded, NEW)
    assert saved == load(loaded.path)
    assert saved.config.engine.max_sessions == 20
    assert [entry.name for entry in loaded.path.parent.iterdir()] == ["config.toml"]


def test_saves_follow_each_other(loaded: Loaded) -> None:
    assert save(save(loaded, NEW), OLD).text == loaded.path.read_text() == OLD


def test_an_invalid_text_changes_nothing(loaded: Loaded) -> None:
    with pytest.raises(ConfigError, match=r"engine\.max_sessions: must be a whole number"):
        save(loaded, NEW.replace("20", "0"))
    assert_untouched(loaded)


def test_a_change_on_disk_is_never_overwritten_but_shown(loaded: Loaded) -> None:
    loaded.path.write_text("# mine\n" + OLD)
    with pytest.raises(ConflictError, match="was changed on disk meanwhile") as refused:
        save(loaded, NEW)
    assert refused.value.difference.splitlines()[3:] == ["+# mine", " [engine]", " max_sessions = 10"]
    assert loaded.path.read_text() == "# mine\n" + OLD


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize(
    ("number", "part"),
    [
        (errno.ENOSPC, "no space is left for"),
        (errno.EROFS, "is mounted read-only: mount it writable"),
        (errno.EACCES, "this user may not write in"),
        (errno.EMFILE, "no more files may be opened"),
        (errno.EBUSY, "the file itself is a mount point"),
        (errno.EIO, "Input/output error: see whether the disk"),
    ],
)
def test_a_failure_at_any_step_leaves_the_file_and_nothing_else(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, step: str, number: int, part: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(SaveError) as refused:
        save(loaded, NEW)
    assert str(refused.value).startswith(f"{loaded.path} was not saved: ")
    assert part in str(refused.value)
    assert_untouched(loaded)


def test_a_file_that_vanished_is_not_made_again(loaded: Loaded) -> None:
    loaded.path.unlink()
    with pytest.raises(SaveError, match=r"does not exist.*nothing was saved"):
        save(loaded, NEW)
    assert not loaded.path.exists()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB that is as good as full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        (disk / "config.toml").write_text(OLD)
        (disk / "ballast").write_bytes(bytes(56 * 1024))
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_root
def test_a_disk_that_is_really_full_keeps_the_old_file(full_disk: Path) -> None:
    loaded = load(full_disk / "config.toml")
    with pytest.raises(SaveError, match="no space is left"):
        save(loaded, NEW + "#" * 16_000)
    assert loaded.path.read_text() == OLD
    assert sorted(entry.name for entry in full_disk.iterdir()) == ["ballast", "config.toml"]


def test_the_mode_is_kept(loaded: Loaded) -> None:
    loaded.path.chmod(0o640)
    save(loaded, NEW)
    assert loaded.path.stat().st_mode & 0o7777 == 0o640


@needs_root
def test_the_owner_is_kept(loaded: Loaded) -> None:
    os.chown(loaded.path, 12345, 23456)
    save(loaded, NEW)
    assert (loaded.path.stat().st_uid, loaded.path.stat().st_gid) == (12345, 23456)


def test_a_symbolic_link_stays_and_its_target_changes(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.toml"
    target.parent.mkdir()
    target.write_text(OLD)
    link = tmp_path / "config.toml"
    link.symlink_to(target)
    save(load(link), NEW)
    assert link.is_symlink()
    assert target.read_text() == NEW


def test_line_ends_are_written_as_they_are(loaded: Loaded) -> None:
    save(loaded, NEW.replace("\n", "\r\n"))
    assert loaded.path.read_bytes() == NEW.replace("\n", "\r\n").encode()
