"""An engine behind a real control socket, served from a thread so that commands can run trio themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "engine" / "control"))

from fake_engine import FakeEngine

from engine.control.server import serve


class ServedEngine:
    """A fake engine on a socket, until stopped."""

    def __init__(self, socket: Path) -> None:
        self.api = FakeEngine()
        self.socket = socket
        self._scope = trio.CancelScope()
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        assert self._token is not None
        if self._thread.is_alive():
            self._token.run_sync_soon(self._scope.cancel)
            self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, self.api, self.socket)
                self._ready.set()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ServedEngine]:
    served = ServedEngine(tmp_path / "control.sock")
    served.start()
    yield served
    served.stop()
