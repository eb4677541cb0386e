"""The console over its control socket, on a real engine among real servers and clients on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from console_pictures import look, settle
from running_engine import CLIENT, FAST_PROBES, HOSTS, OTHER_CLIENT, VPN, RunningEngine, running, service, write_config
from textual.pilot import Pilot
from textual.widgets import Static
from vpn_peers import Client, Server, client

from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.server_choice import ServerChoice
from ikeconsole.link import SocketLink
from ikeconsole.looks.preferences import RememberedPreferences
from ikeconsole.screens.events import Events
from ikeconsole.screens.server import Server as ServerPage
from ikeconsole.screens.sessions import Sessions
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.lost_banner import LostBanner

T = TypeVar("T")
PATIENCE = 300


class LiveWorld:
    """Two real servers, clients, and an engine that can be stopped and started, on a thread of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine: RunningEngine | None = None
        self._path = directory / "config.toml"
        self._ready = threading.Event()
        self._stack = ExitStack()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def do(self, deed: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Have something done there."""
        return await asyncio.to_thread(trio.from_thread.run, deed, *arguments, trio_token=self._token)

    async def connected(self, host: str = CLIENT) -> Client:
        """A client with a tunnel."""
        made = self._stack.enter_context(client(host, VPN))
        await made.connect()
        return made

    async def start_engine(self) -> None:
        self.engine = await self._nursery.start(self._run_engine)

    async def stop_engine(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        write_config(self._path, service(health=FAST_PROBES))
        with self._stack:
            async with trio.open_nursery() as self._nursery:
                for name in "ab":
                    await Server(HOSTS[name]).start(self._nursery)
                await self.start_engine()
                assert self.engine is not None
                await self.engine.healthy("a", "b")
                self._ready.set()
                await trio.sleep_forever()

    async def _run_engine(self, task_status: trio.TaskStatus[RunningEngine]) -> None:
        self._stopped = trio.Event()
        with trio.CancelScope() as self._scope:
            async with running(self._path) as engine:
                task_status.started(engine)
                await trio.sleep_forever()
        self._stopped.set()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LiveWorld]:
    live = LiveWorld(tmp_path)
    live.start()
    yield live
    live.stop()


def console(world: LiveWorld) -> ConsoleApp:
    link = SocketLink(world.directory / "control.sock")
    app = ConsoleApp(world.directory, link=link, preferences=RememberedPreferences(world.directory / "preferences"))
    app.paused = True
    return app


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Have the console ask the engine until something has come about."""
    for _ in range(PATIENCE):
        await look(pilot)
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"it did not come about; in sight is:\n{in_sight(pilot)}")


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def agree(pilot: Pilot[Any]) -> str:
    """Wait for the question and say yes to it; returns what it said."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
    said = "\n".join(str(line.content) for line in pilot.app.screen.query(".dialog-line").results(Static))
    await pilot.press("y")
    await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm))
    return said


def in_sight(pilot: Pilot[Any]) -> str:
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


def rows(pilot: Pilot[Any]) -> list[str]:
    """The lines of the list in front that have something."""
    grid = pilot.app.screen.query_one(Grid)
    return [text for y in range(1, grid.size.height) if (text := grid.render_line(y).text.strip())]


def toasts(pilot: Pilot[Any]) -> str:
    return "\n".join(f"{toast.title}: {toast.message}" for toast in pilot.app._notifications)


@pytest.mark.asyncio
async def test_the_overview_counts_sessions_and_what_passes(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.snapshot is not None)
        assert [row.split()[1:4] for row in rows(pilot)[1:]] == [["a", "●", "up"], ["b", "●", "up"]]
        first = await world.do(world.connected)
        await until(pilot, lambda: rows(pilot)[1].split()[4] == "1")
        for _ in range(PATIENCE):
            await world.do(first.echo)
            await look(pilot)
            cells = rows(pilot)[1].split()
            if "0" not in cells[6:9]:
                break
        assert "0" not in cells[6:9], "new sessions, bits in and bits out per second"
        assert "1 session" in in_sight(pilot).splitlines()[0]


@pytest.mark.asyncio
async def test_the_list_is_filtered_by_server_and_phase(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await world.do(world.connected, CLIENT)
        await world.do(world.connected, OTHER_CLIENT)
        await look(pilot)
        await press(pilot, "2")
        await until(pilot, lambda: len(rows(pilot)) == 2)
        assert isinstance(app.screen, Sessions)
        await press(pilot, "slash", *"server:b", "enter")
        await until(pilot, lambda: len(rows(pilot)) == 1)
        assert rows(pilot)[0].split()[:3] == [rows(pilot)[0].split()[0], "b", "established"]
        assert OTHER_CLIENT in rows(pilot)[0]
        await press(pilot, "slash", "ctrl+u", *"phase:established", "enter")
        await until(pilot, lambda: len(rows(pilot)) == 2)
        await press(pilot, "slash", "ctrl+u", *"phase:init", "enter")
        await until(pilot, lambda: "None of 2 sessions matches phase:init" in in_sight(pilot))


@pytest.mark.asyncio
async def test_a_cleared_client_loses_its_session_and_comes_back(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(80, 24)) as pilot:
        cleared = await world.do(world.connected)
        await look(pilot)
        await press(pilot, "2")
        await until(pilot, lambda: len(rows(pilot)) == 1)
        await press(pilot, "c")
        assert "1 session" in await agree(pilot)
        await until(pilot, lambda: app.snapshot is not None and app.snapshot.status.sessions == 0)
        await until(pilot, lambda: not any(cleared.host in row for row in rows(pilot)))
        await world.do(cleared.connect)
        await until(pilot, lambda: any(cleared.host in row and "established" in row for row in rows(pilot)))


@pytest.mark.asyncio
async def test_a_moved_client_goes_to_the_other_server_and_a_pinned_one_is_marked(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(80, 24)) as pilot:
        moved = await world.do(world.connected)
        await look(pilot)
        await press(pilot, "2")
        await until(pilot, lambda: len(rows(pilot)) == 1)
        assert rows(pilot)[0].split()[1] == "a"
        await press(pilot, "m")
        assert isinstance(app.screen, ServerChoice)
        await press(pilot, "enter")
        await agree(pilot)
        assert not await world.do(moved.is_known), "b does not know its SAs"
        await world.do(moved.connect)
        await until(pilot, lambda: any(row.split()[1:3] == ["b", "established"] for row in rows(pilot)))
        await press(pilot, "p")
        await agree(pilot)
        await until(pilot, lambda: any("pinned" in row for row in rows(pilot)))
        await press(pilot, "p")
        await agree(pilot)
        await until(pilot, lambda: not any("pinned" in row for row in rows(pilot)))


@pytest.mark.asyncio
async def test_a_drain_is_foreseen_shown_and_told_and_a_probe_says_what_it_found(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(160, 48)) as pilot:
        await world.do(world.connected)
        await look(pilot)
        await press(pilot, "3")
        await until(pilot, lambda: len(rows(pilot)) == 2)
        await press(pilot, "b")
        await until(pilot, lambda: "probe of a: " in toasts(pilot))
        await press(pilot, "d")
        said = await agree(pilot)
        assert "1 session" in said
        await until(pilot, lambda: "◐ drain" in rows(pilot)[0])
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, ServerPage))
        await until(pilot, lambda: "1 session" in in_sight(pilot))
        assert any(line.split()[:1] == ["drain"] for line in in_sight(pilot).splitlines())
        await press(pilot, "5")
        await until(pilot, lambda: isinstance(app.screen, Events) and len(rows(pilot)) > 1)
        told = rows(pilot)
        assert any("session-established" in line and f"{CLIENT}:" in line for line in told)
        assert any("vpn/a: drain (by " in line for line in told)


@pytest.mark.asyncio
async def test_an_engine_that_stops_is_missed_and_found_again_when_it_is_back(world: LiveWorld) -> None:
    app = console(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.snapshot is not None)
        before = rows(pilot)
        await world.do(world.stop_engine)
        await until(pilot, lambda: app.lost is not None)
        assert app.screen.query_one(LostBanner).display
        assert "engine lost" in in_sight(pilot)
        assert len(rows(pilot)) == len(before)
        await world.do(world.start_engine)
        await until(pilot, lambda: app.lost is None)
        assert not app.screen.query_one(LostBanner).display
        await until(pilot, lambda: "● up" in rows(pilot)[1])


@pytest.mark.asyncio
async def test_one_console_shows_what_another_one_did(world: LiveWorld) -> None:
    async def disable(app: ConsoleApp) -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: app.snapshot is not None)
            await press(pilot, "down", "down", "x")
            await agree(pilot)
            await until(pilot, lambda: "✕ disabled" in rows(pilot)[2])

    app = console(world)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: app.snapshot is not None)
        assert "● up" in rows(pilot)[2]
        await asyncio.create_task(disable(console(world)))
        await until(pilot, lambda: "✕ disabled" in rows(pilot)[2])
