"""Tests wait until a console has nothing left to do: its event loop knows, where Textual's pilot guesses by the clock.

The guess costs minutes with many keys, and is wrong on a machine that is too busy to let the console work.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import textual.app
import textual.pilot
import textual.screen
from textual._context import active_app
from textual.pilot import Pilot

SOON_S: Final = 0.02
"""What is due by then is about to draw or to move something: longer than a frame of an animation."""
PATIENCE_S: Final = 30.0


async def quiet() -> None:
    """Wait until nothing goes on by itself any more; raises TimeoutError where something always does."""
    loop: Any = asyncio.get_running_loop()
    app = active_app.get()
    deadline_s = loop.time() + PATIENCE_S
    while loop.time() < deadline_s:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        if app._exit:  # then the timers of its screens run on and do nothing
            return
        due_s = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=deadline_s)
        if due_s > loop.time() + SOON_S:
            return
        await asyncio.sleep(due_s - loop.time())
    raise TimeoutError("the console always has something to do")


async def _wait_for_idle(*_limits: float) -> None:
    await quiet()


async def _wait_for_screen(_pilot: Pilot[Any], _timeout: float = PATIENCE_S) -> bool:
    await quiet()
    return True


def hurry() -> None:
    """Have every pilot wait so from now on, and screens be drawn without delay."""
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = _wait_for_idle
    Pilot._wait_for_screen = _wait_for_screen
    textual.screen.UPDATE_PERIOD = 1 / 300
