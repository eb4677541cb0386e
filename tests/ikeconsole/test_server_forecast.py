"""drain and disable at a terminal: what they would do is shown before they ask."""

from __future__ import annotations

import io

import pytest
from served_engine import ServedEngine

from ikeconsole.exits import Exit
from ikeconsole.main import main


class Keyboard(io.StringIO):
    """Somebody at a terminal, who types a line."""

    def isatty(self) -> bool:
        return True


def run(engine: ServedEngine, *arguments: str) -> int:
    return main([*arguments, "--socket", str(engine.socket)])


@pytest.mark.parametrize(
    ("command", "server", "shown"),
    [
        ("drain", "rras-3", "It has no sessions; new clients go to rras-1.\nDrain rras-3? [y/N] "),
        (
            "disable",
            "rras-2",
            "601 sessions end at once; clients reconnect to rras-1.\n"
            "rras-1 would then carry 1 204 of at most 1 500.\nDisable rras-2? [y/N] ",
        ),
    ],
)
def test_the_forecast_stands_above_the_question(
    engine: ServedEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    server: str,
    shown: str,
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    assert run(engine, command, f"always-on-vpn/{server}") == Exit.FAILED
    assert capsys.readouterr().err.startswith(shown)
    assert engine.api.changes == []
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    assert run(engine, command, f"always-on-vpn/{server}") == Exit.OK
    assert [change[:3] for change in engine.api.changes] == [("set_server", "always-on-vpn", server)]


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["drain", "always-on-vpn/rras-1"], io.StringIO()),
        (["drain", "always-on-vpn/rras-1", "--yes"], Keyboard()),
        (["enable", "always-on-vpn/rras-1"], Keyboard()),
        (["weight", "always-on-vpn/rras-1", "7"], Keyboard()),
    ],
    ids=["a program", "--yes", "what takes nothing away", "a weight"],
)
def test_nobody_is_asked_needlessly(
    engine: ServedEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    stdin: io.StringIO,
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(engine, *arguments) == Exit.OK
    assert capsys.readouterr().err == ""
    assert len(engine.api.changes) == 1


def test_a_server_that_does_not_exist_is_refused_before_the_question(
    engine: ServedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    assert run(engine, "drain", "always-on-vpn/rras-9") == Exit.FAILED
    assert "there is no real server always-on-vpn/rras-9" in capsys.readouterr().err
    assert engine.api.changes == []
