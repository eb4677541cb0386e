"""Clients of a control socket that are free to misbehave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from engine.control import protocol


class Peer:
    """A bare JSON-RPC client, free to misbehave."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.lines = protocol.LineBuffer()

    async def send(self, method: str, request_id: int = 1, **params: object) -> None:
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        await self.stream.send_all(json.dumps(request).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """The next message, None at the end of the connection."""
        while (line := self.lines.pop()) is None:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.lines.feed(data)
        message: dict[str, Any] = json.loads(line)
        return message

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        await self.send(method, **params)
        answer = await self.receive()
        assert answer is not None
        return answer


class Door:
    """Makes connections to the server, and closes them when the test ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: list[trio.SocketStream] = []

    async def stranger(self) -> Peer:
        """A connection on which nothing was said yet."""
        self.streams.append(await trio.open_unix_socket(self.path))
        return Peer(self.streams[-1])

    async def friend(self) -> Peer:
        """A connection after the hello."""
        peer = await self.stranger()
        assert "result" in await peer.ask("hello", protocol=protocol.PROTOCOL)
        return peer
