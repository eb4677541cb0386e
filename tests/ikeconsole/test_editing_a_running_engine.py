"""The forms against the real engine on loopback, over its control socket."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from console_pictures import look
from textual.pilot import Pilot

from engine.config.load import load
from engine.operations import Operations
from engine.runtime import serve_forever
from ikeconsole.app import ConsoleApp
from ikeconsole.dialogs.conflict import Conflict
from ikeconsole.dialogs.plan import ShowPlan
from ikeconsole.link import SocketLink
from ikeconsole.looks.preferences import RememberedPreferences
from ikeconsole.screens.history import History
from ikeconsole.screens.services import Services
from ikeconsole.widgets.field_row import FieldRow

CONFIG = """\
# Who is paged: the network team.
[engine]
control_socket = "{directory}/control.sock"
state_dir = "{directory}/state"

[[service]]
name = "vpn"                # the name in DNS
address = "127.66.7.1"
ike_port = 15500
nat_t_port = 14500
source = "snat"
health = {{ type = "none" }}

# The old one, in the cellar.
[[service.real_server]]
name = "a"
address = "127.66.7.11"
"""


class LiveEngine:
    """The engine on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.operations: Operations | None = None
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        if self._token is not None and self._thread.is_alive():
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def other_console(self, change: Callable[[Operations], Awaitable[object]]) -> None:
        """Have somebody else change something."""
        assert self.operations is not None
        trio.from_thread.run(change, self.operations, trio_token=self._token)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                self.operations = await nursery.start(partial(serve_forever, load(self.path), signals=False))
                self._ready.set()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LiveEngine]:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(directory=tmp_path))
    live = LiveEngine(path)
    live.start()
    yield live
    live.stop()


def console(engine: LiveEngine) -> ConsoleApp:
    directory = engine.path.parent
    link = SocketLink(directory / "control.sock")
    app = ConsoleApp(directory, link=link, preferences=RememberedPreferences(directory / "preferences"))
    app.paused = True
    return app


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait for what the engine's answers bring about."""
    for _ in range(400):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not come about")


async def open_form(pilot: Pilot[Any], app: ConsoleApp) -> None:
    await look(pilot)
    await pilot.press("4")
    await look(pilot)
    await pilot.press("enter")
    await until(pilot, lambda: _editing(app))


def _editing(app: ConsoleApp) -> bool:
    focused = app.focused
    return focused is not None and any(isinstance(node, FieldRow) for node in focused.ancestors_with_self)


@pytest.mark.asyncio
async def test_a_server_added_in_the_editor_is_in_the_file_among_its_comments_and_undo_takes_it_out(
    engine: LiveEngine,
) -> None:
    app = console(engine)
    before = engine.path.read_text()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, app)
        await pilot.press("pagedown", "n")
        await until(pilot, lambda: _editing(app))
        await pilot.press("b", "tab", *"127", "full_stop", *"66", "full_stop", "7", "full_stop", *"12", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ShowPlan))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, Services))
        text = engine.path.read_text()
        assert text.startswith(before.rstrip("\n"))
        assert '[[service.real_server]]\nname = "b"\naddress = "127.66.7.12"' in text
        await look(pilot)
        assert app.snapshot is not None
        assert app.snapshot.server("vpn", "b") is not None
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, History) and app.screen.grid.total == 2)
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ShowPlan))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: engine.path.read_text() == before)


@pytest.mark.asyncio
async def test_an_edit_that_another_console_overtook_is_refused_and_can_be_put_on_top(engine: LiveEngine) -> None:
    app = console(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, app)
        await pilot.press(*["down"] * 7, "f")
        drain = partial(Operations.set_server, service="vpn", server="a", state="drain", weight=None, author="alice")
        engine.other_console(drain)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Conflict))
        assert "fixed" not in engine.path.read_text()
        await pilot.press("tab", "tab", "enter")
        await until(pilot, lambda: not isinstance(app.screen, Conflict))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ShowPlan))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, Services))
        service = load(engine.path).config.services[0]
        assert (service.scheduler, service.real_servers[0].state) == ("fixed", "drain")
