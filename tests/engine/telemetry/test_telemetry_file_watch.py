"""An edit of the configuration file that is not in force is noticed, and what is being written is left alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from engine.config.load import digest_of
from engine.telemetry.file_watch import FileWatch

BEFORE = "[engine]\nmax_sessions = 1000\n"
AFTER = "[engine]\nmax_sessions = 2000\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    write(path, BEFORE)
    return path


def write(path: Path, text: str) -> None:
    """Replace the file as editors do, so that it is another one however coarse the clock is."""
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


def watch_of(path: Path) -> FileWatch:
    return FileWatch(path, digest_of(BEFORE))


def look_twice(watch: FileWatch, running: str = BEFORE) -> None:
    for _ in range(2):
        watch.look(digest_of(running))


def test_a_file_that_is_what_runs_is_no_alarm(path: Path) -> None:
    watch = watch_of(path)
    look_twice(watch)
    os.utime(path, (1, 1))
    look_twice(watch)
    assert watch.finding(digest_of(BEFORE)) is None


def test_an_edit_is_told_once_it_has_settled_with_how_to_see_it_and_take_it_in(path: Path) -> None:
    watch = watch_of(path)
    write(path, AFTER)
    watch.look(digest_of(BEFORE))
    assert watch.finding(digest_of(BEFORE)) is None
    watch.look(digest_of(BEFORE))
    finding = watch.finding(digest_of(BEFORE))
    assert finding is not None
    assert finding.kind == "config-changed"
    assert finding.text == f"{path} was changed and is not in force"
    assert "ikeconsole config diff" in finding.remedy
    assert "ikeconsole reload" in finding.remedy


def test_a_reload_ends_it_at_once_and_so_does_taking_the_edit_back(path: Path) -> None:
    watch = watch_of(path)
    write(path, AFTER)
    look_twice(watch)
    assert watch.finding(digest_of(BEFORE)) is not None
    assert watch.finding(digest_of(AFTER)) is None
    look_twice(watch, running=AFTER)
    assert watch.finding(digest_of(AFTER)) is None
    write(path, BEFORE)
    look_twice(watch, running=AFTER)
    assert watch.finding(digest_of(AFTER)) is not None
    write(path, AFTER)
    look_twice(watch, running=AFTER)
    assert watch.finding(digest_of(AFTER)) is None


def test_what_the_engine_saves_and_runs_between_two_looks_is_no_alarm(path: Path) -> None:
    watch = watch_of(path)
    look_twice(watch)
    write(path, AFTER)
    assert watch.finding(digest_of(AFTER)) is None
    for _ in range(3):
        watch.look(digest_of(AFTER))
        assert watch.finding(digest_of(AFTER)) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[engine]\nmax_sessions = 0\nlog_level = 7\n", "engine.max_sessions: "),
        ("[engine\n", "1:8: "),
    ],
)
def test_an_edit_that_is_not_valid_is_told_with_its_first_problem(path: Path, text: str, problem: str) -> None:
    watch = watch_of(path)
    write(path, text)
    look_twice(watch)
    finding = watch.finding(digest_of(BEFORE))
    assert finding is not None
    assert finding.text.startswith(f"{path} was changed and cannot be used: {problem}")
    assert ("(and 1 more)" in finding.text) is ("log_level" in text)
    assert "ikeconsole check" in finding.remedy


def test_a_file_without_services_is_not_offered_for_a_reload_that_would_be_refused(path: Path) -> None:
    watch = watch_of(path)
    write(path, "")
    look_twice(watch)
    missed, expected = (watch.finding(digest_of(BEFORE), has_services=runs) for runs in (True, False))
    assert missed is not None
    assert "has no service any more: `ikeconsole reload` refuses it" in missed.text
    assert expected is not None
    assert expected.text == f"{path} was changed and is not in force"


def test_a_file_that_is_gone_is_told_and_its_return_ends_it(path: Path) -> None:
    watch = watch_of(path)
    path.unlink()
    look_twice(watch)
    finding = watch.finding(digest_of(BEFORE))
    assert finding is not None
    assert "does not exist" in finding.text
    write(path, BEFORE)
    look_twice(watch)
    assert watch.finding(digest_of(BEFORE)) is None


def test_a_file_that_does_not_change_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(path: Path) -> str:
        raise AssertionError(path)

    watch = watch_of(path)
    monkeypatch.setattr("engine.telemetry.file_watch.read_text", never)
    for _ in range(5):
        watch.look(digest_of(BEFORE))
    monkeypatch.undo()
    write(path, AFTER)
    look_twice(watch)
    monkeypatch.setattr("engine.telemetry.file_watch.read_text", never)
    look_twice(watch)
    assert watch.finding(digest_of(BEFORE)) is not None


@pytest.mark.trio
async def test_a_file_that_cannot_be_reached_keeps_nobody_from_stopping(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    reached, given_up = threading.Event(), threading.Event()

    def look(self: FileWatch, running_digest: str) -> None:
        trio.from_thread.run_sync(stopped.cancel)
        if not reached.wait(5):
            given_up.set()

    monkeypatch.setattr(FileWatch, "look", look)
    try:
        with trio.CancelScope() as stopped:
            await watch_of(path).run(lambda: "")
        assert stopped.cancelled_caught
        assert not given_up.is_set()
    finally:
        reached.set()


def test_an_alarm_stays_short_whatever_stands_in_the_file(path: Path) -> None:
    watch = watch_of(path)
    write(path, f"{'k' * 100_000} = 1\n")
    look_twice(watch)
    finding = watch.finding(digest_of(BEFORE))
    assert finding is not None
    assert len(finding.text) < 1000
