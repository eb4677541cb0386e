"""Saving: how much is written when, and what happens where the disk does not do its part."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from survival_world import SavedWorld
from trio.testing import MockClock

from engine.survival import saving
from engine.survival.journal import read_journal
from engine.survival.journal_file import JournalFile
from engine.survival.saving import GROWN_BYTES, REWRITTEN_EVERY_S, TOLD_EVERY_S
from tests.engine.sessions.session_world import IKE, init

T = TypeVar("T")

HOST = "198.51.100.1"
pytestmark = pytest.mark.trio


async def test_only_what_changed_is_written(tmp_path: Path) -> None:
    world = SavedWorld(tmp_path)
    for number in range(1, 201):
        world.connect(f"198.51.100.{number}", number)
    await world.saving.save()
    whole_bytes = world.journal.stat().st_size
    await world.saving.save()
    assert world.journal.stat().st_size == whole_bytes
    world.connect("203.0.113.1", 1000)
    await world.saving.save()
    assert 0 < world.journal.stat().st_size - whole_bytes < whole_bytes / 50


@pytest.mark.parametrize(("written_at_once_bytes", "pieces"), [(saving.WRITTEN_AT_ONCE_BYTES, 1), (1, 20)])
async def test_many_changes_are_written_in_few_pieces_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_at_once_bytes: int, pieces: int
) -> None:
    """To hand a thread each turn's share takes longer than to make it."""
    monkeypatch.setattr(saving, "AT_ONCE", 5)
    monkeypatch.setattr(saving, "WRITTEN_AT_ONCE_BYTES", written_at_once_bytes)
    world = SavedWorld(tmp_path)
    await world.saving.save()
    for number in range(1, 51):
        world.connect(f"198.51.100.{number}", number)
    written: list[bytes] = []
    append = JournalFile.append

    def noted(file: JournalFile, data: bytes) -> None:
        written.append(data)
        append(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "append", noted)
        await world.saving.save()
    assert len(written) == pieces
    assert (await world.after_restart()).picture() == world.picture()


async def at_once(do: Callable[..., T], *arguments: object) -> T:
    """Do what else a thread does, for which the clock does not wait."""
    await trio.lowlevel.checkpoint()
    return do(*arguments)


async def test_an_idle_engine_says_that_it_is_there(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next one would take it for gone since the last change."""
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    world = SavedWorld(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.saving.run)
        await trio.sleep(100)
        last = read_journal(world.journal).moment
        assert last is not None
        assert trio.current_time() - last.engine_s <= TOLD_EVERY_S + 1
        nursery.cancel_scope.cancel()


async def test_the_file_is_written_anew_when_it_has_grown_and_now_and_then(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    world = SavedWorld(tmp_path)
    session = world.connect(HOST, 1)
    await world.saving.save()
    session.decided = "x" * 100_000
    for _ in range(60):
        world.table.mark(session)
        await world.saving.save()
        assert world.journal.stat().st_size < 2 * 300_000 + GROWN_BYTES + 200_000
    session.decided = ""
    await trio.sleep(REWRITTEN_EVERY_S)
    await world.saving.save()
    assert world.journal.stat().st_size < 10_000
    assert not world.unfinished()


async def test_what_changes_while_the_file_is_written_anew_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "AT_ONCE", 1)
    world = SavedWorld(tmp_path)
    for number in range(1, 11):
        world.connect(f"198.51.100.{number}", number)
    appended = JournalFile.append
    changes = iter(
        [
            lambda: world.table.close(world.service.by_spi[1]),
            lambda: world.table.close(world.service.by_spi[9]),
            lambda: world.connect("203.0.113.1", 1000),
        ]
    )

    def meanwhile(file: JournalFile, data: bytes) -> None:
        appended(file, data)
        trio.from_thread.run_sync(next(changes, lambda: None))

    with monkeypatch.context() as patch:
        await world.saving.save()
        world.saving._rewritten_s -= REWRITTEN_EVERY_S
        first = JournalFile.__init__

        def begun(file: JournalFile, path: Path) -> None:
            patch.setattr(JournalFile, "append", appended)
            first(file, path)
            patch.setattr(JournalFile, "append", meanwhile)

        patch.setattr(JournalFile, "__init__", begun)
        await world.saving.save()
    again = await world.after_restart()
    assert next(changes, None) is None
    assert again.picture() == world.picture()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
async def test_a_disk_that_takes_nothing_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    world = SavedWorld(tmp_path)
    world.connect(HOST, 1)
    await world.saving.save()

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("engine.survival.journal_file.os.write", refuse)
        for spi in (2, 3):
            world.connect(f"198.51.100.{spi}", spi)
            await world.saving.save()
        assert str(tmp_path) in world.saving.failure
        assert world.table.changed is None, "nothing is noted that nobody writes down"
    (text,) = world.told("sessions-unsaved")
    assert text.endswith(world.saving.failure)
    assert (await world.after_restart()).picture().keys() == {1}, "what was there before stays whole"
    await world.saving.save()
    assert not world.saving.failure
    assert len(world.told("sessions-saved")) == 1
    assert (await world.after_restart()).picture() == world.picture()
    assert not world.unfinished()


async def test_what_changes_last_of_all_is_saved_although_it_was_time_to_save_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk takes its time with the last whole file, clients still connect."""
    world = SavedWorld(tmp_path)
    world.connect(HOST, 1)
    publish = JournalFile.publish
    async with trio.open_nursery() as nursery:

        def slowly(file: JournalFile) -> None:
            publish(file)
            trio.from_thread.run_sync(nursery.start_soon, world.saving.save)
            trio.from_thread.run_sync(world.connect, "198.51.100.2", 2)

        nursery.start_soon(world.saving.run)
        await world.saving.save()
        monkeypatch.setattr(JournalFile, "publish", slowly)
        await world.saving.finish()
        nursery.cancel_scope.cancel()
    world.saving.close()
    assert sorted(kept.host for kept in read_journal(world.journal).sessions.values()) == [HOST, "198.51.100.2"]


async def test_a_directory_that_somebody_emptied_is_filled_again(tmp_path: Path) -> None:
    world = SavedWorld(tmp_path)
    world.connect(HOST, 1)
    await world.saving.save()
    world.journal.unlink()
    world.connect("198.51.100.2", 2)
    await world.saving.save()
    await world.saving.save()
    assert (await world.after_restart()).picture() == world.picture()


async def test_a_service_that_is_added_is_saved_with_its_records(tmp_path: Path) -> None:
    world = SavedWorld(tmp_path)
    del world.services["vpn"]
    await world.saving.save()
    world.services["vpn"] = world.service
    world.service.persistence.pin("203.0.113.0/24", world.server("a"), 0.0)
    await world.saving.save()
    assert [pin.client for pin in (await world.after_restart()).service.persistence.pins] == ["203.0.113.0/24"]


async def test_what_is_unpinned_or_forgotten_is_not_remembered_by_the_next_engine(tmp_path: Path) -> None:
    world = SavedWorld(tmp_path)
    pin = world.service.persistence.pin("203.0.113.0/24", world.server("a"), 0.0)
    world.connect(HOST, 1)
    await world.saving.save()
    world.service.persistence.forget(pin)
    world.evacuate("a")
    world.evacuate("b")
    await world.saving.save()
    again = await world.after_restart()
    assert not len(again.service.persistence)
    assert not again.sessions()


@pytest.mark.parametrize("content", [b"garbage", b"ikeconsole sessions, format 9\n"])
async def test_an_unusable_file_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    world = SavedWorld(tmp_path)
    world.journal.write_bytes(content)
    await world.take_over()
    (text,) = world.told("sessions-unusable")
    assert "it was set aside as sessions.journal.unusable-1; clients" in text
    assert (tmp_path / "sessions.journal.unusable-1").read_bytes() == content
    await world.saving.save()
    assert not (await world.after_restart()).told("sessions-unusable")


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    world = SavedWorld(tmp_path)
    await world.saving.save()
    assert world.journal.stat().st_mode & 0o777 == 0o600


async def test_a_session_is_saved_once_it_is_set_up_or_when_that_takes_long(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """In a storm of reconnects each costs the forwarder one record instead of several."""
    world = SavedWorld(tmp_path)
    await world.saving.save()
    world.client_sends((HOST, 500), IKE, init(1))
    session = world.only_session()
    await world.saving.save()
    assert not read_journal(world.journal).sessions
    await trio.sleep(1.1)
    await world.saving.save()
    assert read_journal(world.journal).sessions.keys() == {session.number}


async def test_a_file_that_grows_with_the_table_is_not_written_anew(tmp_path: Path, autojump_clock: MockClock) -> None:
    world = SavedWorld(tmp_path)
    await world.saving.save()
    begun = world.journal.stat().st_ino
    for number in range(1, 41):
        world.connect(f"198.51.100.{number}", number).decided = "x" * 100_000
        await world.saving.save()
    assert world.journal.stat().st_size > 3 * GROWN_BYTES
    assert world.journal.stat().st_ino == begun
