"""An engine behind a real control socket, served from a thread so that commands can run trio themselves."""

from __future__ import annotations

import threading
from pathlib import Path

import trio
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
