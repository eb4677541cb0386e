"""The library itself: there or not, silent on the terminal, and clear about privileges."""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_objects import CARELESS_SOURCE, FORWARD_SOURCE, build, require_bpf

from engine.fastpath import libbpf
from engine.fastpath.bpf import BpfError, Object

LOAD = """
import sys
from pathlib import Path
from engine.fastpath.bpf import BpfError, Object, XdpMode
try:
    with Object.open(Path(sys.argv[1])) as opened:
        opened.load()
        with opened.program("forward").attach_xdp(1, XdpMode.GENERIC):
            print("attached")
except BpfError as error:
    print(error)
"""


@pytest.fixture
def library_not_yet_loaded() -> Iterator[None]:
    libbpf.library.cache_clear()
    libbpf.prompt_library.cache_clear()
    yield
    libbpf.library.cache_clear()
    libbpf.prompt_library.cache_clear()


def load_with(capabilities: str, source: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Load the program and put it on a device, with these capabilities only, in a network of its own."""
    dropping = ["setpriv", "--securebits", "+noroot"]
    dropping += [f"--{kind}={capabilities}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return subprocess.run(
        ["unshare", "--net", *dropping, sys.executable, "-c", LOAD, str(build(source, directory))],
        cwd=FORWARD_SOURCE.parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


@pytest.mark.usefixtures("library_not_yet_loaded")
def test_missing_library_is_one_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without libbpf gets the name of the package to install."""

    def no_library(*_: object, **__: object) -> ctypes.CDLL:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", no_library)

    with pytest.raises(BpfError, match=r"libbpf\.so\.1 is missing: install the package libbpf1"):
        Object.open(Path("forward.bpf.o"))


@pytest.mark.usefixtures("library_not_yet_loaded")
def test_old_library_is_one_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that lacks a function is named as too old, with the version that has it."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())

    with pytest.raises(BpfError, match=r"too old, it lacks libbpf_set_print: install libbpf 1\.0"):
        Object.open(Path("forward.bpf.o"))


def test_what_libbpf_prints_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Warnings of libbpf, which the console would be scribbled over by, are debug lines of the log instead."""
    require_bpf()
    with (
        caplog.at_level(logging.DEBUG, logger="engine.fastpath.libbpf"),
        Object.open(build(CARELESS_SOURCE, tmp_path)) as opened,
        pytest.raises(BpfError),
    ):
        opened.load()

    assert "R1 offset is outside of the packet" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("capabilities", ["-all", "-all,+bpf", "-all,+net_admin"])
def test_lack_of_privilege_names_the_capabilities(tmp_path: Path, capabilities: str) -> None:
    """Without the right to use BPF the error says which capabilities give it, and nothing else is printed."""
    require_bpf()
    ran = load_with(capabilities, FORWARD_SOURCE, tmp_path)

    assert "Operation not permitted; start as root or with the capabilities CAP_BPF, CAP_PERFMON and" in ran.stdout
    assert ran.stderr == ""


def test_lack_of_perfmon_is_told_from_a_bad_program(tmp_path: Path) -> None:
    """The verifier's refusal of what only CAP_PERFMON allows leads to that capability, not to a newer kernel."""
    require_bpf()
    ran = load_with("-all,+bpf,+net_admin", FORWARD_SOURCE, tmp_path)

    assert "start as root or with the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN" in ran.stdout


def test_three_capabilities_are_enough(tmp_path: Path) -> None:
    """A service that is not root needs these three, and no more, for the fast path."""
    require_bpf()
    ran = load_with("-all,+bpf,+perfmon,+net_admin", FORWARD_SOURCE, tmp_path)

    assert (ran.stdout, ran.stderr) == ("attached\n", "")
