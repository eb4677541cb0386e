"""The control server: local clients ask, the engine answers; no client can hold it up or bring it down."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio
from trio.abc import AsyncResource

from engine.control import calls, protocol
from engine.control.access import is_owner, may_change, peer_credentials, user_name
from engine.control.api import EngineApi, Refused
from engine.control.endpoint import bound, find_group
from engine.control.perform import perform
from engine.control.protocol import MessageError
from engine.control.reserve import ReservingListener
from engine.control.status import Hello

MAX_CONNECTIONS = 64
KEPT_FOR_OWNERS = 8
"""The last places are for root and the engine's own user: nobody else can lock them out."""
MAX_IN_FLIGHT = 8
"""Requests of one connection worked on at once; further ones wait unread."""
LOOKERS_IN_FLIGHT = 2
"""Of whoever may only look: one that follows events, and one beside it."""
LOOKERS_MESSAGE_BYTES = 64 << 10
"""Longest line of whoever may only look, or was not asked yet: what is longer holds a changed configuration."""
HELLO_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 10.0
"""How long a client may leave an answer unread before it is disconnected."""
CHANGE_TIMEOUT_S = 30.0

_RECEIVE_BYTES = 1 << 16

T = TypeVar("T")

log = logging.getLogger(__name__)


async def serve(
    api: EngineApi,
    path: Path,
    *,
    group: str = "",
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer clients on the Unix socket `path` until cancelled; raises `ControlSocketError` at the start.

    Members of `group` (empty: none) may use the socket and change the engine, beside root and its own user.
    """
    group_id = find_group(group)
    with bound(path, group_id) as listener:
        server = _Server(api, group, group_id)
        async with ReservingListener(trio.SocketListener(trio.socket.from_stdlib_socket(listener))) as accepting:

            async def handle(stream: trio.SocketStream) -> None:
                await server.handle(stream)
                accepting.fill()

            task_status.started()
            await trio.serve_listeners(handle, [accepting])


@dataclass(frozen=True, slots=True)
class _Peer:
    name: str
    author: str
    """Who history says made a change."""
    may_change: bool
    is_owner: bool


class _Server:
    def __init__(self, api: EngineApi, group: str, group_id: int | None) -> None:
        self.api = api
        self.group = group
        self.group_id = group_id
        self._connections = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end, whatever it does."""
        async with stream:
            connection = _Connection(self, stream)
            kept = 0 if is_owner(peer_credentials(stream.socket)) else KEPT_FOR_OWNERS
            if self._connections >= MAX_CONNECTIONS - kept:
                await connection.turn_away()
                return
            self._connections += 1
            try:
                await connection.run()
            except Exception:
                log.exception("a control connection failed")
            finally:
                self._connections -= 1


class _Connection:
    def __init__(self, server: _Server, stream: trio.SocketStream) -> None:
        self._server = server
        self._api = server.api
        self._stream = stream
        self._lines = protocol.LineBuffer(LOOKERS_MESSAGE_BYTES)
        self._in_flight = trio.Semaphore(MAX_IN_FLIGHT)
        self._sending = trio.Lock()
        self._scope = trio.CancelScope()
        self._subscription: trio.CancelScope | None = None

    async def turn_away(self) -> None:
        text = f"the engine already has {MAX_CONNECTIONS} control connections: close some and try again"
        await self._send(protocol.encode_error(None, MessageError(protocol.TOO_MANY_CONNECTIONS, text)))

    async def run(self) -> None:
        with self._scope:
            peer = None
            with trio.move_on_after(HELLO_TIMEOUT_S):
                peer = await self._greet()
            if peer is None:
                return
            if peer.may_change:
                self._lines.most_bytes = protocol.MAX_MESSAGE_BYTES
            else:
                self._in_flight = trio.Semaphore(LOOKERS_IN_FLIGHT)
            async with trio.open_nursery() as nursery:
                await self._in_flight.acquire()
                while request := await self._receive():
                    nursery.start_soon(self._answer, request, peer)
                    await self._in_flight.acquire()
                # The client may only have closed its sending side: it still gets what it asked for.
                if self._subscription is not None:
                    self._subscription.cancel()

    async def _greet(self) -> _Peer | None:
        """Answer the hello; None when the connection ends instead."""
        request = await self._receive()
        if request is None:
            return None
        try:
            if request.method != calls.SayHello.method:
                raise MessageError(protocol.INVALID_REQUEST, 'the first call must be "hello" {"protocol": N}')
            said: calls.SayHello = _parameters(request, calls.SayHello)
            _require_same_protocol(said.protocol)
            peer = await self._identify(said)
        except MessageError as error:
            await self._send(protocol.encode_error(request.id, error))
            return None
        status = self._api.status()
        hello = Hello(
            protocol=protocol.PROTOCOL,
            version=status.version,
            host=status.host,
            pid=os.getpid(),
            config_path=self._api.config_path,
            may_change=peer.may_change,
        )
        await self._send(protocol.encode_result(request.id, hello))
        return peer

    async def _identify(self, said: calls.SayHello) -> _Peer:
        credentials = peer_credentials(self._stream.socket)
        # Account databases may be on a directory server that is slow or away.
        allowed = await trio.to_thread.run_sync(may_change, credentials, self._server.group_id, abandon_on_cancel=True)
        name = await trio.to_thread.run_sync(user_name, credentials.uid, abandon_on_cancel=True)
        author = f"{said.user} ({name})" if credentials.uid == 0 and said.user else name
        return _Peer(name=name, author=author, may_change=allowed, is_owner=is_owner(credentials))

    async def _receive(self) -> protocol.Request | None:
        """The next request; None when the client is gone or what it sends cannot be followed any more."""
        while True:
            try:
                line = self._lines.pop()
                if line is not None:
                    return protocol.decode_request(line)
            except MessageError as error:
                await self._send(protocol.encode_error(None, error))
                if error.code == protocol.PARSE_ERROR:
                    return None
                continue
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._lines.feed(data)

    async def _answer(self, request: protocol.Request, peer: _Peer) -> None:
        try:
            await self._work_on(request, peer)
        finally:
            self._in_flight.release()

    async def _work_on(self, request: protocol.Request, peer: _Peer) -> None:
        try:
            call = _find_call(request)
            if (call.changing or call.revealing) and not peer.may_change:
                raise self._denied(peer, "capture" if call.revealing else "change")
            match call:
                case calls.Subscribe():
                    if await self._follow(request, self._api.subscribe, protocol.encode_event):
                        self._drop("it fell too far behind the events it follows")
                    return
                case calls.Capture(client=client, seconds=seconds, messages=messages):
                    capture = partial(self._api.capture, client, seconds, messages, peer.author)
                    await self._follow(request, capture, protocol.encode_captured)
                    return
            # A change once begun is carried to its end, even when its client hangs up.
            with trio.fail_after(CHANGE_TIMEOUT_S, shield=call.changing):
                result = await perform(self._api, call, peer.author, unrestricted=peer.is_owner)
            reply = protocol.encode_result(request.id, result)
        except (Refused, MessageError) as error:
            reply = protocol.encode_error(request.id, error)
        except trio.TooSlowError:
            late = f"{request.method} took longer than {CHANGE_TIMEOUT_S:.0f} s and was given up"
            reply = protocol.encode_error(request.id, Refused("failed", late))
        except Exception:
            log.exception("control call %r failed", request.method)
            text = f"{request.method} failed inside the engine: its log has the details"
            reply = protocol.encode_error(request.id, MessageError(protocol.INTERNAL_ERROR, text))
        await self._send(reply)

    async def _follow(
        self, request: protocol.Request, begin: Callable[[], AsyncIterator[T]], encode: Callable[[T], bytes]
    ) -> bool:
        """Send what comes until it ends; False: the client hung up before that."""
        if self._subscription is not None:
            raise Refused("conflict", "this connection already follows something: open another one")
        told = begin()
        with trio.CancelScope() as self._subscription:
            try:
                await self._send(protocol.encode_result(request.id, None))
                async for one in told:
                    await self._send(encode(one))
            finally:
                if isinstance(told, AsyncResource | AsyncGenerator):
                    await told.aclose()
        over = not self._subscription.cancelled_caught
        self._subscription = None
        return over

    def _denied(self, peer: _Peer, what: str) -> Refused:
        group = self._server.group
        join = f"have {peer.name} added to group {group!r} and log in again" if group else "set engine.control_group"
        return Refused("denied", f"{peer.name} may look but not {what}", [f"run it with sudo, or {join}"])

    async def _send(self, line: bytes) -> None:
        try:
            with trio.fail_after(SEND_TIMEOUT_S):
                async with self._sending:
                    await self._stream.send_all(line)
        except trio.TooSlowError:
            self._drop(f"it left an answer unread for {SEND_TIMEOUT_S:.0f} s")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def _drop(self, why: str) -> None:
        log.warning("control client disconnected: %s", why)
        self._scope.cancel()


def _require_same_protocol(theirs: int) -> None:
    ours = protocol.PROTOCOL
    if theirs == ours:
        return
    older = "the client" if theirs < ours else "the engine"
    text = f"the client speaks control protocol {theirs}, the engine {ours}: upgrade {older}"
    raise MessageError(protocol.WRONG_PROTOCOL, text)


def _find_call(request: protocol.Request) -> calls.Call[Any]:
    kind = calls.CALLS.get(request.method)
    if kind is None:
        raise MessageError(protocol.METHOD_NOT_FOUND, f"there is no method {request.method!r}")
    call: calls.Call[Any] = _parameters(request, kind)
    return call


def _parameters(request: protocol.Request, kind: type[calls.Call[Any]]) -> Any:
    try:
        return protocol.decode(request.params, kind, invalid_code=protocol.INVALID_PARAMS)
    except MessageError as error:
        raise MessageError(protocol.INVALID_PARAMS, f"{request.method}: {error.message}") from error
