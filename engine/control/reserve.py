"""Lets consoles in when no more files may be opened: that is when somebody has to look."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

import trio

KEPT: Final = 4
"""A console has two connections, a command one."""
FILLED_EVERY_S: Final = 2.0
"""For somebody else may have been faster when a connection ended."""


class ReservingListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that keeps a few files open, to give their places to connections when there are no others."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._kept: list[int] = []
        self.fill()

    def fill(self) -> None:
        """Keep as many as are wanted again, as far as they can be had; call when a connection has ended."""
        with suppress(OSError):
            while len(self._kept) < KEPT:
                self._kept.append(os.eventfd(0, os.EFD_CLOEXEC))

    async def accept(self) -> trio.SocketStream:
        """The next connection; raises OSError as a listener does."""
        while True:
            with trio.move_on_after(FILLED_EVERY_S):
                return await self._accept()
            self.fill()

    async def aclose(self) -> None:
        """Stop listening."""
        while self._kept:
            os.close(self._kept.pop())
        await self._listener.aclose()

    async def _accept(self) -> trio.SocketStream:
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._kept:
                    raise
                # The connection waits already, so that accepting it is the next thing that happens.
                os.close(self._kept.pop())
