"""What tests of the fast path need: compiled BPF objects, and a network of their own to put programs on."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.fastpath.bpf import Object

FORWARD_SOURCE = Path(__file__).parents[2] / "engine" / "fastpath" / "forward.bpf.c"

PROBE_SOURCE = Path(__file__).parent / "fastpath" / "probe.bpf.c"
CARELESS_SOURCE = PROBE_SOURCE.with_name("careless.bpf.c")

_PROGRAMS = {
    "clang": "clang",
    "llvm-strip": "llvm",
    "gcc": "gcc",
    "make": "make",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "setpriv": "util-linux",
}
_HEADERS = {Path("/usr/include/bpf/bpf_helpers.h"): "libbpf-dev"}
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def require_bpf() -> None:
    """Skip without root, compiler or libbpf; continuous integration must have them."""
    if lacking := missing():
        reason = f"tests of the fast path need {', '.join(lacking)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def missing() -> list[str]:
    """What is lacking, each as a phrase for the person who must supply it; empty: all is there."""
    lacking = [f"{name} (Debian package {package})" for name, package in _PROGRAMS.items() if not shutil.which(name)]
    lacking += [f"{path} (Debian package {package})" for path, package in _HEADERS.items() if not path.exists()]
    if ctypes.util.find_library("bpf") is None:
        lacking.append("libbpf.so.1 (Debian package libbpf1)")
    if os.geteuid() != 0:
        lacking.append("root")
    return lacking


def build(source: Path, directory: Path) -> Path:
    """Compile a BPF source into an object in a directory."""
    built = directory / f"{source.name.removesuffix('.bpf.c')}.o"
    headers = next(Path("/usr/include").glob("*-linux-gnu"))
    command = ["clang", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", f"-I{headers}"]
    for step in ([*command, "-c", str(source), "-o", str(built)], ["llvm-strip", "-g", str(built)]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return built


@contextmanager
def loaded(source: Path, directory: Path) -> Iterator[Object]:
    """A BPF source compiled and in the kernel; skips like `require_bpf`."""
    require_bpf()
    with Object.open(build(source, directory)) as opened:
        opened.load()
        yield opened


@contextmanager
def private_network() -> Iterator[None]:
    """Have this thread, and the processes that it starts, in a network namespace that ends with them."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET))
    finally:
        os.close(home)


def ip(command: str) -> None:
    """Run one command of ip(8)."""
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def _check(answer: int) -> None:
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
