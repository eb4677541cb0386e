"""What the demo prints where no console can be shown: the status, the last events, and how to go on."""

from __future__ import annotations

import io
from pathlib import Path

from fake_engine import EVENTS, STATUS
from rich.console import Console

from ikeconsole.demo.display import page

SOCKET = Path("/tmp/ikeconsole-demo-abcdefgh/control.sock")


def drawn() -> list[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(page(STATUS, EVENTS, SOCKET, console.width))
    return capture.get().splitlines()


def test_a_page_begins_with_the_engine_and_ends_with_what_to_type() -> None:
    lines = drawn()
    assert STATUS.host in lines[0]
    assert f"ikeconsole --socket {SOCKET} COMMAND" in lines[-2]


def test_the_newest_event_is_the_last_line_above_the_hints() -> None:
    lines = drawn()
    at = next(number for number, line in enumerate(lines) if line.startswith("All of this is simulated"))
    assert EVENTS[-1].text[:30] in lines[at - 2]
