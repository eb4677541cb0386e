"""The log: readable for people, with priorities for journald."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from engine.logs import set_up_logging


@pytest.fixture(autouse=True)
def _root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_journald_gets_the_priority_of_each_entry_and_entries_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    set_up_logging("debug")
    log = logging.getLogger("engine.tests")
    log.debug("one")
    log.info("two")
    log.warning("three\nand a half")
    log.error("four")
    log.critical("five")
    assert capsys.readouterr().err == (
        "<7>engine.tests: one\n"
        "<6>engine.tests: two\n"
        "<4>engine.tests: three\n"
        "\tand a half\n"
        "<3>engine.tests: four\n"
        "<2>engine.tests: five\n"
    )


def test_people_get_time_level_and_source(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    set_up_logging("info")
    logging.getLogger("engine.tests").warning("take care")
    line = capsys.readouterr().err
    assert line.endswith("WARNING engine.tests: take care\n")
    assert line[:2] == "20"


def test_only_what_is_as_severe_as_the_level_is_written_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")
    set_up_logging("error")
    logging.getLogger("engine.tests").warning("quiet")
    logging.getLogger("engine.tests").error("loud")
    assert capsys.readouterr().err.count("\n") == 1
    assert sys.stderr is not sys.__stderr__
