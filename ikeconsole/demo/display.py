"""What the demo prints where no console can be shown: the engine's status page, its last events, and what to try."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import trio
from rich.console import RenderableType
from rich.text import Text

from engine.control.records import Event
from engine.control.status import EngineStatus
from ikeconsole.client import connect
from ikeconsole.command_line import command_line
from ikeconsole.commands.output import terminal
from ikeconsole.render.columns import printable, stacked
from ikeconsole.render.states import severity
from ikeconsole.render.status import status

MOST_EVENTS: Final = 6
EVERY_S: Final = 5.0


async def show(socket: Path, interrupted: AsyncIterator[int]) -> None:
    """Print a page now and then until interrupted, or until the terminal or the reader is gone.

    Raises:
        EngineUnreachable: the engine has stopped.
    """
    output = terminal()
    try:
        async with connect(socket) as client:
            while True:
                engine = await client.status()
                events = await client.events(limit=MOST_EVENTS)
                output.print(page(engine, events, socket, output.width), "")
                if await _is_interrupted(interrupted):
                    return
    except BrokenPipeError:
        return
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def page(engine: EngineStatus, events: Sequence[Event], socket: Path, width: int) -> RenderableType:
    """One page: status, the last events, what an operator can try meanwhile."""
    hints = Text.assemble(
        ("All of this is simulated on loopback. Ctrl-C ends it. From another terminal:\n", "dim"),
        f"{command_line(sys.argv[0], socket)} COMMAND\n",
        ("COMMAND: sessions | servers --watch | events -f | drain always-on-vpn/rras-1", "dim"),
    )
    return stacked(status(engine, width), *map(_event_line, events), Text(""), hints)


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


async def _is_interrupted(interrupted: AsyncIterator[int]) -> bool:
    with trio.move_on_after(EVERY_S):
        await anext(interrupted)
        return True
    return False
