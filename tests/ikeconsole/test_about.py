"""The console tells which engine it shows and how that is asked from another terminal, in words that can be typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_pictures import console, look, settle
from textual.widgets import Static

from ikeconsole.command_line import command_line
from ikeconsole.dialogs.about import About

SOCKET = Path("/tmp/ikeconsole-demo-abcdefgh/control.sock")


@pytest.mark.parametrize(
    ("argv0", "installed", "begins"),
    [
        (".venv/bin/ikeconsole", None, f".venv/bin/ikeconsole --socket {SOCKET}"),
        (".venv/bin/ikeconsole", "/usr/bin/ikeconsole", f"ikeconsole --socket {SOCKET}"),
        ("/src/ikeconsole/__main__.py", None, f"ikeconsole --socket {SOCKET}"),
    ],
)
def test_the_program_is_called_as_it_can_be_typed(
    argv0: str, installed: str | None, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: installed)
    assert command_line(argv0, SOCKET) == begins


def test_a_path_that_a_shell_would_take_apart_is_quoted() -> None:
    assert command_line("ikeconsole", Path("/tmp/my engine")) == "ikeconsole --socket '/tmp/my engine'"


@pytest.mark.asyncio
async def test_about_names_the_engine_and_copies_the_command_line() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await look(pilot)
        await pilot.press("i")
        await settle(pilot)
        assert isinstance(app.screen, About)
        words = "\n".join(str(line.content) for line in app.screen.query(Static))
        assert "on vpn-edge-1, pid 4711" in words
        assert "/etc/ikeconsole/config.toml" in words
        await pilot.press("y")
        assert app.clipboard == "ikeconsole --socket /nowhere"
        assert app.clipboard in words
        await pilot.press("i")
        await settle(pilot)
        assert not isinstance(app.screen, About)


@pytest.mark.asyncio
async def test_about_tells_the_command_line_also_before_any_engine_has_answered() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        app.snapshot = None
        await pilot.press("i")
        await settle(pilot)
        words = "\n".join(str(line.content) for line in app.screen.query(Static))
        assert "No engine has answered yet." in words
        assert "ikeconsole --socket /nowhere" in words
