"""The log in a file: bounded, with what others write to standard error, and never a reason not to start."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.logs import LOG_FILE_BYTES, open_log_file

WRITE_MUCH = """
import logging, os, sys
from pathlib import Path
from engine.logs import LOG_FILE_BYTES, open_log_file, set_up_logging
log_file = open_log_file(Path(sys.argv[1]))
set_up_logging("info", log_file)
log_file.take_stderr()
for _ in range(3 * LOG_FILE_BYTES // 10_000):
    logging.info("x" * 10_000)
os.write(2, b"a stray word")
"""


def test_a_log_file_stays_bounded_and_takes_in_standard_error_also_after_it_was_full(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_MUCH, str(tmp_path / "new" / "engine.log")],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == b""
    assert sorted(os.listdir(tmp_path / "new")) == ["engine.log", "engine.log.1"]
    assert all(file.stat().st_size <= LOG_FILE_BYTES for file in (tmp_path / "new").iterdir())
    assert (tmp_path / "new" / "engine.log").read_text().endswith("a stray word")


def test_a_log_file_that_cannot_be_written_is_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    log_file = open_log_file(tmp_path / "file" / "engine.log")
    log_file.emit(logging.makeLogRecord({"msg": "noted"}))
    log_file.close()
    assert log_file.path.name == "engine.log"
    assert log_file.path.parent.parent == tmp_path
    assert log_file.path.read_text() == "noted\n"
