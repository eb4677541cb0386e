"""The console's command line where there is no terminal to show it on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from served_engine import ServedEngine

from ikeconsole.exits import Exit
from ikeconsole.main import main

ROOT = Path(__file__).parents[2]


def test_attach_without_a_terminal_prints_the_status(engine: ServedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attach", "--socket", str(engine.socket)]) == Exit.OK
    assert "vpn-edge-1" in capsys.readouterr().out


def test_attach_without_a_terminal_and_an_engine_fails_as_every_command_does(tmp_path: Path) -> None:
    assert main(["attach", "--socket", str(tmp_path / "none.sock")]) == Exit.UNREACHABLE


def test_read_only_is_refused_for_commands_that_have_no_console() -> None:
    with pytest.raises(SystemExit) as left:
        main(["--read-only", "status"])
    assert left.value.code == Exit.USAGE


def test_no_command_loads_textual_before_a_console_is_shown(engine: ServedEngine) -> None:
    code = "import sys\nfrom ikeconsole.main import main\nmain(sys.argv[1:])\nsys.exit('textual' in sys.modules)"
    command = [sys.executable, "-c", code, "--socket", str(engine.socket)]
    subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
