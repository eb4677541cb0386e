"""That no more files can be opened is an alarm, until it has gone well for a while."""

from __future__ import annotations

import errno
import os

import pytest

from engine.telemetry.open_files import QUIET_S, OpenFiles


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [
        (errno.EMFILE, "may open no more files", f"prlimit --pid {os.getpid()}"),
        (errno.ENFILE, "this machine can open no more files", "fs.file-max"),
        (errno.ENOMEM, "Cannot allocate memory", "MemoryMax="),
    ],
    ids=["of the process", "of the machine", "for lack of memory"],
)
def test_want_of_files_is_told_until_it_is_clearly_over(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str, remedy: str
) -> None:
    files = OpenFiles()
    files.look(0.0)
    assert not list(files.findings())

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd", refuse)
        files.look(1.0)
    (found,) = files.findings()
    assert found.kind == "out-of-files"
    assert said in found.text
    assert "established tunnels go on" in found.text
    assert remedy in found.remedy
    files.look(1.0 + QUIET_S - 1)
    assert list(files.findings())
    files.look(1.0 + QUIET_S)
    assert not list(files.findings())
