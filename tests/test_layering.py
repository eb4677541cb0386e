"""Who may import whom, seen at run time: what import-linter reads from the source, Python confirms."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, pkgutil, sys
for package in {packages!r}:
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        importlib.import_module(module.name)
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(loaded & set({unwanted!r})))
"""


@pytest.mark.parametrize(
    ("packages", "unwanted"),
    [
        (["engine"], ["ikeconsole", "rich", "textual"]),
        (["engine.wire", "engine.policy"], ["trio", "socket", "select", "subprocess"]),
        (["engine.sessions"], ["trio", "subprocess"]),
    ],
    ids=["the engine runs without the console", "wire and policy do no I/O", "the session table does no I/O"],
)
def test_importing_everything_loads_nothing_unwanted(packages: list[str], unwanted: list[str]) -> None:
    script = IMPORT_ALL.format(packages=packages, unwanted=unwanted)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_engine_without_the_fast_path_loads_nothing_of_it() -> None:
    """Neither the package nor what it needs, so that it may be missing."""
    script = "import sys, engine.runtime; print(*(name for name in sys.modules if name.startswith('engine.fastpath')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
