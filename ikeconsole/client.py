"""The client of a running engine's control socket, for the command line and the console."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from engine.control import calls, protocol
from engine.control.api import Refused
from engine.control.captured import Captured
from engine.control.protocol import MessageError
from engine.control.records import (
    Change,
    ConfigState,
    Event,
    Explanation,
    Revision,
    SessionDetail,
    SessionPage,
    SessionQuery,
)
from engine.control.status import EngineStatus, Hello
from ikeconsole.disarmed import disarmed

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 40.0
"""Longer than the engine gives a change, so that its own verdict arrives."""

_MAX_WAITING_EVENTS = 10_000
_RECEIVE_BYTES = 1 << 16

R = TypeVar("R")


class EngineUnreachable(Exception):
    """No engine answers on the control socket; the message says why and what to do."""


@asynccontextmanager
async def connect(path: Path) -> AsyncGenerator[ControlClient, None]:
    """A connection to the engine listening at `path`; raises `EngineUnreachable`, `Refused` for no right."""
    async with await _open(path) as stream:
        client = ControlClient(path, stream)
        with trio.move_on_after(CONNECT_TIMEOUT_S) as waiting:
            client.hello = await client.ask(
                calls.SayHello(protocol=protocol.PROTOCOL, user=os.environ.get("SUDO_USER", ""))
            )
        if waiting.cancelled_caught:
            raise EngineUnreachable(f"the engine on {path} does not answer: see its log, or restart it")
        yield client


async def _open(path: Path) -> trio.SocketStream:
    try:
        return await trio.open_unix_socket(path)
    except PermissionError as error:
        advice = ["run this with sudo, or have your account added to the engine's control_group"]
        raise Refused("denied", f"no right to use the control socket {path}", advice) from error
    except OSError as error:
        raise EngineUnreachable(
            f"no engine answers on {path} ({error.strerror or error}): "
            "start one with `ikeconsole engine`, or name its socket with --socket"
        ) from error


class ControlClient:
    """Typed calls to one engine; each raises `Refused` or `EngineUnreachable`.

    One call runs at a time. While `follow` or `capture` runs, use another connection for calls.
    """

    hello: Hello
    """Who answered, and whether this user may change things."""

    def __init__(self, path: Path, stream: trio.SocketStream) -> None:
        self._path = path
        self._stream = stream
        self._lines = protocol.LineBuffer()
        self._calling = trio.Lock()
        self._ids = count(1)
        self._waiting_events: deque[Event] = deque()

    async def status(self) -> EngineStatus:
        """Everything at one moment."""
        return await self.ask(calls.GetStatus())

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """A window of the session table."""
        return await self.ask(calls.ListSessions(query=query))

    async def session(self, number: int) -> SessionDetail:
        """One session."""
        return await self.ask(calls.GetSession(number=number))

    async def explain(self, client: str) -> list[Explanation]:
        """Why a client address is where it is."""
        return await self.ask(calls.Explain(client=client))

    async def events(self, *, after: int = 0, limit: int = 100) -> list[Event]:
        """Past events numbered above `after`, the newest `limit` of them, oldest first."""
        return await self.ask(calls.ListEvents(after=after, limit=limit))

    async def follow(self, *, after: int = 0, limit: int = 100) -> AsyncGenerator[Event, None]:
        """Past events as `events` gives them, then new ones as they happen, without a gap."""
        async with self._calling:
            await self._exchange(calls.Subscribe())
            for event in await self._exchange(calls.ListEvents(after=after, limit=limit)):
                after = event.number
                yield event
            while True:
                while self._waiting_events:
                    event = self._waiting_events.popleft()
                    if event.number > after:
                        yield event
                self._keep_event(await self._receive())

    async def capture(self, call: calls.Capture) -> AsyncGenerator[Captured, None]:
        """IKE messages of a client as they pass, until the engine says why there are no more."""
        async with self._calling:
            await self._exchange(call)
            ended = ""
            while not ended:
                message = await self._receive()
                if message.method == "captured" and message.params is not msgspec.UNSET:
                    captured: Captured = self._decode(message.params, Captured)
                    ended = captured.ended
                    yield captured

    async def set_server(
        self, service: str, server: str, *, state: str | None = None, weight: int | None = None
    ) -> Change:
        """Change a real server's admin state or weight."""
        return await self.ask(calls.SetServer(service=service, server=server, state=state, weight=weight))

    async def clear(self, client: str = "", *, session: int | None = None) -> Change:
        """Forget the sessions and persistence of a client address or prefix, or one session alone."""
        return await self.ask(calls.Clear(client=client, session=session))

    async def move(self, client: str, server: str) -> Change:
        """Send a client's next packets to another real server."""
        return await self.ask(calls.Move(client=client, server=server))

    async def reload(self) -> Change:
        """Apply the configuration file."""
        return await self.ask(calls.Reload())

    async def config(self) -> ConfigState:
        """The running configuration beside the file on disk."""
        return await self.ask(calls.GetConfig())

    async def history(self, *, limit: int = 20) -> list[Revision]:
        """Saved revisions of the configuration, newest first."""
        return await self.ask(calls.ListHistory(limit=limit))

    async def undo(self) -> Change:
        """Return to the configuration before the last change."""
        return await self.ask(calls.Undo())

    async def ask(self, call: calls.Call[R]) -> R:
        """The engine's answer to any call."""
        with trio.move_on_after(CALL_TIMEOUT_S):
            async with self._calling:
                return await self._exchange(call)
        raise self._lost(f"{call.method}: no answer for {CALL_TIMEOUT_S:.0f} s")

    async def _exchange(self, call: calls.Call[R]) -> R:
        number = next(self._ids)
        # An engine that hung up may have said why: the answer is read all the same.
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(protocol.encode_request(number, call.method, call))
        while True:
            message = await self._receive()
            if message.method is not msgspec.UNSET:
                self._keep_event(message)
            elif message.id == number or message.id is None:
                break
            # Any other answer is to a call that was cancelled.
        if message.error is not msgspec.UNSET:
            raise self._refusal(message.error)
        if message.result is msgspec.UNSET:
            raise self._lost("an answer without a result")
        result: R = self._decode(message.result, type(call).result)
        return result

    async def _receive(self) -> protocol.Incoming:
        try:
            while (line := self._lines.pop()) is None:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    raise self._lost("it closed the connection")
                self._lines.feed(data)
            return protocol.decode_incoming(disarmed(line))
        except trio.BrokenResourceError as error:
            raise self._lost("the connection broke") from error
        except MessageError as error:
            raise self._lost(error.message) from error

    def _keep_event(self, message: protocol.Incoming) -> None:
        if message.method != "event" or message.params is msgspec.UNSET:
            return
        if len(self._waiting_events) >= _MAX_WAITING_EVENTS:
            raise self._lost("events arrive faster than they are read")
        self._waiting_events.append(self._decode(message.params, Event))

    def _decode(self, raw: msgspec.Raw, as_type: type[Any]) -> Any:
        try:
            return protocol.decode(raw, as_type, invalid_code=protocol.INVALID_PARAMS)
        except MessageError as error:
            why = f"it answers what this version of the program does not understand ({error.message})"
            remedy = "if it was started before an upgrade, restart it: tunnels that are up outlive that"
            raise self._lost(f"{why}; {remedy}") from error

    def _refusal(self, error: protocol.ErrorObject) -> Exception:
        if error.code in protocol.REFUSED_CODES.values():
            return Refused(error.data.kind, error.message, error.data.details)
        if error.code in (protocol.WRONG_PROTOCOL, protocol.TOO_MANY_CONNECTIONS):
            return EngineUnreachable(error.message)
        return Refused("failed", error.message)

    def _lost(self, why: str) -> EngineUnreachable:
        return EngineUnreachable(f"lost the engine on {self._path}: {why}")
