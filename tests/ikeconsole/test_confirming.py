"""Commands that end sessions: what they ask at a terminal, and that programs are never asked."""

from __future__ import annotations

import io

import pytest
from fake_engine import CLEARING, MOVING
from served_engine import ServedEngine

from ikeconsole.exits import Exit
from ikeconsole.main import main

CLEAR = ["clear", "198.51.100.7"]
MOVE = ["move", "198.51.100.7", "rras-1"]


class Keyboard(io.StringIO):
    """Somebody at a terminal, who types a line."""

    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard(text))


@pytest.mark.parametrize(("command", "effect"), [(CLEAR, CLEARING), (MOVE, MOVING)])
@pytest.mark.parametrize("answer", ["y\n", " YES\n"])
def test_at_a_terminal_it_shows_the_effect_and_does_it_after_a_yes(
    engine: ServedEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    effect: object,
    answer: str,
) -> None:
    typed(monkeypatch, answer)
    assert main([*command, "--socket", str(engine.socket)]) == Exit.OK
    printed = capsys.readouterr()
    assert all(line in printed.err for line in effect.lines)  # type: ignore[attr-defined]
    assert printed.err.endswith("? [y/N] ")
    assert engine.api.changes[0][0] == command[0]
    assert printed.out


@pytest.mark.parametrize("command", [CLEAR, MOVE, ["clear", "--session", "4711"]])
@pytest.mark.parametrize("answer", ["\n", "n\n", "", "yo\n"])
def test_anything_but_a_yes_changes_nothing(
    engine: ServedEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    answer: str,
) -> None:
    typed(monkeypatch, answer)
    assert main([*command, "--socket", str(engine.socket)]) == Exit.FAILED
    printed = capsys.readouterr()
    assert "nothing was changed" in printed.err
    assert printed.out == ""
    assert engine.api.changes == []


@pytest.mark.parametrize("stdin", [Keyboard("n\n"), io.StringIO("n\n")], ids=["--yes at a terminal", "a program"])
def test_yes_and_programs_are_not_asked(
    engine: ServedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stdin: io.StringIO
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    arguments = [*CLEAR, "--yes"] if stdin.isatty() else CLEAR
    assert main([*arguments, "--socket", str(engine.socket)]) == Exit.OK
    assert capsys.readouterr().err == ""
    assert engine.api.changes == [("clear", "198.51.100.7", None)]


def test_a_probe_that_failed_is_exit_code_1_and_says_why(
    engine: ServedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", "always-on-vpn/rras-3", "--socket", str(engine.socket)]) == Exit.FAILED
    assert capsys.readouterr().out == "always-on-vpn/rras-3: failed: no answer to IKE probe, ping answers\n"
    assert main(["probe", "always-on-vpn/rras-1", "--socket", str(engine.socket)]) == Exit.OK
    assert capsys.readouterr().out == "always-on-vpn/rras-1: ok in 3.0ms: answers IKE\n"
