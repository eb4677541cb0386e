"""What the demo shows: the engine's status page, its last events, and what to try."""

from __future__ import annotations

import errno
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import trio
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from engine.control.records import EngineStatus, Event
from ikeconsole.client import ControlClient, connect
from ikeconsole.commands.output import terminal
from ikeconsole.render.columns import printable, stacked
from ikeconsole.render.states import severity
from ikeconsole.render.status import status

MOST_EVENTS: Final = 6
LIVE_EVERY_S: Final = 1.0
PLAIN_EVERY_S: Final = 5.0


async def show(socket: Path, interrupted: AsyncIterator[int]) -> None:
    """Show the engine behind a control socket until interrupted, or until the terminal or the reader is gone.

    Raises:
        EngineUnreachable: the engine has stopped.
    """
    console = terminal()
    is_live = console.is_terminal and not console.is_dumb_terminal
    try:
        async with connect(socket) as client:
            await (_redraw if is_live else _print_pages)(client, console, socket, interrupted)
    except BrokenPipeError:
        return
    except OSError as error:
        if error.errno != errno.EIO:
            raise


async def _redraw(client: ControlClient, console: Console, socket: Path, interrupted: AsyncIterator[int]) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(await _page(client, console, socket, console.height), refresh=True)
            if await _is_interrupted(interrupted, LIVE_EVERY_S):
                return


async def _print_pages(client: ControlClient, console: Console, socket: Path, interrupted: AsyncIterator[int]) -> None:
    while True:
        console.print(await _page(client, console, socket, height=sys.maxsize), "")
        if await _is_interrupted(interrupted, PLAIN_EVERY_S):
            return


def page(
    console: Console, engine: EngineStatus, events: Sequence[Event], hints: RenderableType, height: int
) -> RenderableType:
    """One page: status and hints always, and as many of the last events as the height leaves room for."""
    above, below = status(engine, console.width), stacked(Text(""), hints)
    room = height - sum(len(console.render_lines(part)) for part in (above, below))
    shown = events[-min(room, MOST_EVENTS) :] if room > 0 else []
    return stacked(above, *map(_event_line, shown), below)


def hints(program: str, socket: Path) -> Text:
    """What an operator can try meanwhile."""
    return Text.assemble(
        ("All of this is simulated on loopback. Ctrl-C ends it. From another terminal:\n", "dim"),
        f"{program} --socket {socket} COMMAND\n",
        ("COMMAND: sessions | servers --watch | events -f | drain always-on-vpn/rras-1", "dim"),
    )


def program_name(argv0: str) -> str:
    """How the program was called, so that what is shown can be copied."""
    if shutil.which("ikeconsole") or Path(argv0).name != "ikeconsole":
        return "ikeconsole"
    return argv0


def _event_line(event: Event) -> Text:
    """An event within one line; of today, and its text says what kind it is."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    return Text.assemble(
        (at, "dim"),
        " ",
        severity(event.severity),
        f" {printable(event.text)}",
        no_wrap=True,
        overflow="ellipsis",
    )


async def _page(client: ControlClient, console: Console, socket: Path, height: int) -> RenderableType:
    engine = await client.status()
    events = await client.events(limit=MOST_EVENTS)
    return page(console, engine, events, hints(program_name(sys.argv[0]), socket), height)


async def _is_interrupted(interrupted: AsyncIterator[int], timeout_s: float) -> bool:
    with trio.move_on_after(timeout_s):
        await anext(interrupted)
        return True
    return False
