"""The console over a fake engine, and pictures of it at the sizes and in the colours that are kept right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest
import quiet_console
from fake_link import FakeLink
from textual.pilot import Pilot
from textual.widgets import Input

from ikeconsole.app import ConsoleApp
from ikeconsole.looks.preferences import RememberedPreferences

quiet_console.hurry()

NARROW = (80, 24)
WIDE = (160, 48)
HOMES = TemporaryDirectory(prefix="ikeconsole-test-")
"""Of consoles. The tests remove it: a worker of pytest-xdist ends without doing what Python does at an exit."""

LOOKS = [
    pytest.param(size, theme, id=f"{size[0]}x{size[1]}-{theme}")
    for size in (NARROW, WIDE)
    for theme in ("night", "day", "NO_COLOR")
]
"""Sizes and colours: parametrize with `("size", "theme"), LOOKS`."""


def console(
    link: FakeLink | None = None, *, theme: str = "night", kind: type[ConsoleApp] = ConsoleApp, **options: Any
) -> ConsoleApp:
    """A console that looks only when told to, by `look` or a key, and remembers nothing."""
    preferences = RememberedPreferences(Path(mkdtemp(dir=HOMES.name)))
    app = kind(Path("/nowhere"), link=link or FakeLink(), preferences=preferences, **options)
    app.paused = True
    if theme != "NO_COLOR":
        app.theme = theme
    return app


async def settle(pilot: Pilot[Any]) -> None:
    """Let workers and messages finish."""
    looking = [worker for worker in pilot.app.workers if worker.group == "look"]
    if looking:  # of an empty list Textual makes all workers, also those that wait for a key
        await pilot.app.workers.wait_for_complete(looking)
    await pilot.pause()
    await pilot.pause()  # what is laid out may have to be laid out again
    app = pilot.app
    while isinstance(app, ConsoleApp) and app.handling_keys and app.is_running and not app._exit:
        await pilot.pause()


async def look(pilot: Pilot[Any]) -> None:
    """Have the console ask the engine once, and draw what it says."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    app.look_soon()
    await settle(pilot)


def picture(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
    keys: Iterable[str] = (),
    *,
    link: FakeLink | None = None,
    then: Callable[[Pilot[Any]], Awaitable[None]] | None = None,
    **options: Any,
) -> bool:
    """Whether the console looks as it did after these keys."""
    if theme == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    app = console(link, theme=theme, **options)

    async def before(pilot: Pilot[Any]) -> None:
        await look(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        if then is not None:
            await then(pilot)
        for line in pilot.app.screen.query(Input):
            line.cursor_blink = False
        await settle(pilot)

    return snap_compare(app, terminal_size=size, run_before=before)
