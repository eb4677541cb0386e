"""The history keeps numbered revisions, survives damage, and leads back one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config import history as history_module
from engine.config.history import History, HistoryError


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "state")


def fill(history: History, *texts: str) -> None:
    for at, text in enumerate(texts):
        history.record(text, "eva", f"made it {text}", float(at))


def test_revisions_are_numbered_and_listed_newest_first(history: History) -> None:
    fill(history, "one", "two", "three")
    assert [(revision.number, revision.text, revision.at) for revision in history.list(2)] == [
        (3, "three", 2.0),
        (2, "two", 1.0),
    ]
    assert history.get(1).author == "eva"
    assert history.get(1).summary == "made it one"


def test_recording_the_newest_text_again_makes_no_revision(history: History) -> None:
    fill(history, "one", "one")
    assert [revision.number for revision in history.list(10)] == [1]


def test_a_history_outlives_its_process(history: History) -> None:
    fill(history, "one")
    assert History(history.directory.parent).record("two", "eva", "", 5.0).number == 2


def test_without_a_directory_the_history_is_empty(history: History) -> None:
    assert list(history.list(10)) == []
    assert history.previous("x") is None


def test_previous_is_the_revision_before_the_current_one(history: History) -> None:
    fill(history, "one", "two", "three")
    before = history.previous("three")
    assert before is not None
    assert before.text == "two"


def test_going_back_twice_leads_where_one_was(history: History) -> None:
    fill(history, "one", "two")
    for expected in ("one", "two"):
        before = history.previous(history.list(1)[0].text)
        assert before is not None
        assert before.text == expected
        history.record(before.text, "eva", "undo", 9.0)


def test_previous_of_an_unrecorded_edit_is_the_newest_revision(history: History) -> None:
    fill(history, "one", "two")
    before = history.previous("edited by hand")
    assert before is not None
    assert before.text == "two"


def test_there_is_nothing_before_the_first(history: History) -> None:
    fill(history, "one")
    assert history.previous("one") is None


def test_the_oldest_revisions_go_when_there_are_too_many(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "KEPT_REVISIONS", 3)
    fill(history, "1", "2", "3", "4", "5")
    assert [revision.number for revision in history.list(10)] == [5, 4, 3]
    with pytest.raises(HistoryError, match="there is no revision 1: 3 to 5 are kept"):
        history.get(1)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"number": "x"}', b"\xff\xfe"])
def test_a_damaged_revision_is_left_out_with_a_note(history: History, damage: bytes) -> None:
    fill(history, "one", "two", "three")
    (history.directory / "000002.json").write_bytes(damage)
    assert [revision.number for revision in history.list(10)] == [3, 1]
    assert len(history.notes) == 1
    assert history.notes[0].startswith("revision 2 is left out: ")
    with pytest.raises(HistoryError, match="revision 2 is damaged"):
        history.get(2)
    assert history.record("four", "eva", "", 1.0).number == 4


def test_foreign_files_in_the_directory_do_no_harm(history: History) -> None:
    fill(history, "one")
    (history.directory / "notes.txt").write_text("mine")
    assert [revision.number for revision in history.list(10)] == [1]


def test_a_directory_that_cannot_be_made_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(HistoryError, match=r"cannot be read: Not a directory: .* or name another state_dir"):
        History(tmp_path / "state").record("one", "eva", "", 1.0)


def test_a_failed_write_keeps_what_was_there(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(history, "one")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(HistoryError, match="revision 2 was not kept: no space is left for"):
        history.record("two", "eva", "", 2.0)
    assert [entry.name for entry in history.directory.iterdir()] == ["000001.json"]


def test_only_the_owner_may_read_the_history(history: History) -> None:
    fill(history, "one")
    assert history.directory.stat().st_mode & 0o777 == 0o700
    assert (history.directory / "000001.json").stat().st_mode & 0o777 == 0o600
