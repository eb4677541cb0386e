"""What the demo shows fits the terminal and never hides the status or the way out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fake_engine import EVENTS, STATUS
from rich.console import Console

from ikeconsole.demo.display import MOST_EVENTS, hints, page, program_name

SOCKET = Path("/tmp/ikeconsole-demo-abcdefgh/control.sock")


def drawn(height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    events = [*EVENTS] * MOST_EVENTS
    with console.capture() as capture:
        console.print(page(console, STATUS, events, hints("ikeconsole", SOCKET), height))
    return capture.get().splitlines()


@pytest.mark.parametrize("height", [0, 10, 24, 30, 60])
def test_status_and_hints_are_always_whole(height: int) -> None:
    lines = drawn(height)
    assert STATUS.host in lines[0]
    assert f"ikeconsole --socket {SOCKET} COMMAND" in "\n".join(lines)


def test_events_take_the_lines_that_are_left() -> None:
    bare = len(drawn(0))
    assert len(drawn(bare + 2)) == bare + 2
    assert len(drawn(bare + 100)) == bare + MOST_EVENTS


def test_the_newest_event_is_the_last_line_above_the_hints() -> None:
    newest = EVENTS[-1].text
    lines = drawn(60)
    at = next(number for number, line in enumerate(lines) if line.startswith("All of this is simulated"))
    assert newest[:30] in lines[at - 2]


@pytest.mark.parametrize(
    ("argv0", "installed", "shown"),
    [
        (".venv/bin/ikeconsole", None, ".venv/bin/ikeconsole"),
        (".venv/bin/ikeconsole", "/usr/bin/ikeconsole", "ikeconsole"),
        ("/src/ikeconsole/__main__.py", None, "ikeconsole"),
    ],
)
def test_the_program_is_called_as_it_can_be_typed(
    argv0: str, installed: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: installed)
    assert program_name(argv0) == shown
