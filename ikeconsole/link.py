"""The console's line to the engine: a thread of its own, so that neither waits for the other's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from engine.control import calls
from engine.control.api import Refused
from engine.control.captured import Captured
from engine.control.status import Hello
from ikeconsole.client import ControlClient, EngineUnreachable, connect

R = TypeVar("R")

MAX_WAITING = 100
"""Questions that may wait for an engine that is slow to answer."""

_Request = tuple[calls.Call[Any], Future[Any]]


class Link(Protocol):
    """Asks the engine on behalf of the console's event loop."""

    async def ask(self, call: calls.Call[R]) -> R:
        """The engine's answer; raises `Refused` or `EngineUnreachable`, after which the next call tries anew."""
        ...

    async def greet(self) -> Hello:
        """Who answers, and whether this user may change things; raises as `ask` does."""
        ...

    def capture(self, call: calls.Capture) -> AsyncGenerator[Captured, None]:
        """A client's IKE messages as they pass, until the engine says why there are no more; raises as `ask` does.

        The capture ends when this is closed.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class SocketLink:
    """A link over the control socket: changes go over a second connection, so that no look waits for one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="link")
        started: Future[trio.lowlevel.TrioToken] = Future()
        self._scope = trio.CancelScope()
        self._looks, looks = trio.open_memory_channel[_Request](MAX_WAITING)
        self._changes, changes = trio.open_memory_channel[_Request](MAX_WAITING)
        self._thread.submit(trio.run, self._work, started, looks, changes)
        self._token = started.result()

    async def ask(self, call: calls.Call[R]) -> R:
        """The engine's answer; raises `Refused` or `EngineUnreachable`, after which the next call tries anew."""
        future: Future[R] = Future()
        queue = self._changes if call.changing else self._looks
        self._soon(_put, queue, (call, future))
        return await asyncio.wrap_future(future)

    async def greet(self) -> Hello:
        """Who answers, and whether this user may change things; raises as `ask` does."""
        return await self.ask(_Greet())

    async def capture(self, call: calls.Capture) -> AsyncGenerator[Captured, None]:
        """A client's IKE messages as they pass, until the engine says why there are no more; raises as `ask` does.

        The capture ends when this is closed. It has a connection of its own, from which nothing is read unless it is
        asked for: what a console that stands still does not read waits, or is lost, in the engine.
        """
        asking, asked = trio.open_memory_channel[Future[Captured]](1)
        scope = trio.CancelScope()
        self._soon(self._nursery.start_soon, self._capture, call, asked, scope)
        ended = ""
        try:
            while not ended:
                future: Future[Captured] = Future()
                self._soon(asking.send_nowait, future)
                captured = await asyncio.wrap_future(future)
                ended = captured.ended
                yield captured
        finally:
            with suppress(EngineUnreachable):
                self._soon(scope.cancel)

    def close(self) -> None:
        """Hang up."""
        with suppress(EngineUnreachable):
            self._soon(self._scope.cancel)
        self._thread.shutdown()

    def _soon(self, act: Callable[..., object], *arguments: Any) -> None:
        """Have something done on the line's thread; raises EngineUnreachable after `close`."""
        try:
            self._token.run_sync_soon(act, *arguments)
        except trio.RunFinishedError:
            raise EngineUnreachable("the line to the engine is closed") from None

    async def _work(
        self,
        started: Future[trio.lowlevel.TrioToken],
        looks: trio.MemoryReceiveChannel[_Request],
        changes: trio.MemoryReceiveChannel[_Request],
    ) -> None:
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                nursery = self._nursery
                nursery.start_soon(self._serve, looks)
                nursery.start_soon(self._serve, changes)
                started.set_result(trio.lowlevel.current_trio_token())

    async def _serve(self, requests: trio.MemoryReceiveChannel[_Request]) -> None:
        """Answer one request after the other, connecting anew for the first one after a failure."""
        async for request in requests:
            pending: _Request | None = request
            try:
                async with connect(self._path) as client:
                    await _answer(client, request)
                    pending = None
                    async for pending in requests:
                        await _answer(client, pending)
                        pending = None
            except (EngineUnreachable, Refused) as error:
                if pending is not None:
                    _fail(pending[1], error)

    async def _capture(
        self, call: calls.Capture, asked: trio.MemoryReceiveChannel[Future[Captured]], scope: trio.CancelScope
    ) -> None:
        """Answer each future with what comes next, until cancelled."""
        with scope:
            future: Future[Captured] | None = None
            try:
                async with connect(self._path) as client, aclosing(client.capture(call)) as batches:
                    async for future in asked:
                        captured = await anext(batches)
                        with suppress(InvalidStateError):
                            future.set_result(captured)
            except (EngineUnreachable, Refused) as error:
                _fail(future or await asked.receive(), error)


class _Greet(calls.Call[Hello], frozen=True, kw_only=True):
    """Answered from the greeting of the connection in use; it never travels."""

    method = "greet"
    result = Hello


def _put(queue: trio.MemorySendChannel[_Request], request: _Request) -> None:
    try:
        queue.send_nowait(request)
    except trio.WouldBlock:
        _fail(request[1], EngineUnreachable("the engine is too slow to answer"))


def _fail(future: Future[Any], error: Exception) -> None:
    """Give an error for an answer, unless nobody waits for it any more."""
    with suppress(InvalidStateError):
        future.set_exception(error)


async def _answer(client: ControlClient, request: _Request) -> None:
    call, future = request
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(client.hello if isinstance(call, _Greet) else await client.ask(call))
    except Refused as refusal:
        future.set_exception(refusal)
    except EngineUnreachable as error:
        future.set_exception(error)
        raise
