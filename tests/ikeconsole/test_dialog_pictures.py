"""How the dialogs look, and the console where one may only look, or only play."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from console_pictures import LOOKS, picture, settle
from fake_link import FakeLink
from textual.command import CommandList
from textual.pilot import Pilot

from engine.control.api import Refused
from ikeconsole.app import ConsoleApp
from ikeconsole.demo.console import DemoConsole
from ikeconsole.dialogs.explanation import explain

SCHEDULER = ("4", "enter", *["down"] * 7)
COMMAND = "ikeconsole --socket /run/ikeconsole/control.sock"


@dataclass(frozen=True, slots=True)
class Pose:
    """How to get a dialog before the console."""

    keys: tuple[str, ...] = ()
    then: Callable[[Pilot[Any]], Awaitable[None]] | None = None
    read_only: bool = False
    kind: type[ConsoleApp] = ConsoleApp


async def found(pilot: Pilot[Any]) -> None:
    """Wait until the palette offers all that it has."""
    offered = pilot.app.screen.query_one(CommandList)
    before: list[str | None] = []
    for _ in range(50):
        await pilot.pause(0.1)
        now = [option.id for option in offered.options]
        if now and now == before and not offered.has_class("--populating"):
            return
        before = now
    raise AssertionError("the palette still seeks")


async def refused(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    assert isinstance(app.link, FakeLink)
    details = ["--- running", "+++ on disk", "-weight = 100", "+weight = 50"]
    app.link.api.failure = Refused("conflict", "config.toml was changed on disk: reload it first.", details)
    await pilot.press("d")


async def explained(pilot: Pilot[Any]) -> None:
    assert isinstance(pilot.app, ConsoleApp)
    pilot.app.run_worker(explain(pilot.app, "198.51.100.7"))
    await pilot.pause()
    await settle(pilot)


POSES = {
    "palette": Pose(("colon",), found),
    "palette-typed": Pose(("colon", *"drain"), found),
    "themes": Pose(("t",)),
    "about": Pose(("i",)),
    "explanation": Pose(then=explained),
    "export": Pose(("2", "w")),
    "export-wrong": Pose(("2", "w", "backspace")),
    "refusal": Pose(("down",), refused),
    "pick": Pose((*SCHEDULER, "enter")),
    "reload": Pose(("r",)),
    "weight": Pose(("down", "w")),
    "weight-wrong": Pose(("down", "w", *"99999")),
    "move": Pose(("2", "m", "enter")),
    "filter-wrong": Pose(("2", "slash", *"phase:q")),
    "read-only": Pose(("down",), read_only=True),
    "demo": Pose(kind=DemoConsole),
}


@pytest.mark.parametrize(("size", "theme"), LOOKS)
@pytest.mark.parametrize("pose", POSES)
def test_it_looks_so(
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
    pose: str,
) -> None:
    monkeypatch.setattr("ikeconsole.app.command_line", lambda *_: COMMAND)
    same_time = SimpleNamespace(strftime=lambda _: "20260105-120431", monotonic=time.monotonic)
    monkeypatch.setattr("ikeconsole.exporting.time", same_time)
    posed = POSES[pose]
    assert picture(
        snap_compare,
        monkeypatch,
        size,
        theme,
        posed.keys,
        then=posed.then,
        read_only=posed.read_only,
        kind=posed.kind,
    )
