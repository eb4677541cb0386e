"""One capture: a bounded queue between the forwarder and whoever reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Self

import trio
from trio.abc import AsyncResource

from engine.control.captured import Captured, CapturedMessage
from engine.sessions.query import in_network
from engine.wording import count, spelled_span

WAITING_MESSAGES = 1_000
WAITING_BYTES = 2 << 20
"""What may wait for a reader, whichever is reached first: what comes then is lost, and counted."""
TOLD_MESSAGES = 100
TOLD_BYTES = 256 << 10
"""What a reader is told at once, a little more at most: the forwarder stands still while that is written out."""

Network = IPv4Network | IPv6Network


class Capture(AsyncResource):
    """The messages of one client network, for one reader: `async for` until it ends, then `aclose`.

    It ends after `seconds`, or when so many `messages` were kept.
    """

    def __init__(self, network: Network, seconds: float, messages: int, closed: Callable[[Capture], None]) -> None:
        self.network = network
        self._seen = 0
        self._kept = 0
        self._messages = messages
        self._seconds = seconds
        self._until_s = trio.current_time() + seconds
        self._waiting: deque[CapturedMessage] = deque()
        self._waiting_bytes = 0
        self._news = trio.Event()
        self._over = ""
        """Why nothing more is caught."""
        self._told_over = False
        self._closed = closed

    def wants(self, host: str) -> bool:
        """Whether a client's messages are to be captured."""
        return not self._over and in_network(host, self.network)

    def admit(self, size_bytes: int) -> int:
        """The number of the next message, which is so big; 0: there is no room, and it is lost."""
        self._seen += 1
        if len(self._waiting) == WAITING_MESSAGES or self._waiting_bytes + size_bytes > WAITING_BYTES:
            return 0
        return self._seen

    def add(self, message: CapturedMessage) -> None:
        """Keep a message that was admitted until it is read."""
        self._kept += 1
        self._waiting.append(message)
        self._waiting_bytes += len(message.data)
        if self._kept == self._messages:
            self._over = f"{count(self._messages, 'message')} captured: its limit"
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Captured:
        """What was caught since the last time, as soon as there is something; the last one says why nothing follows."""
        if self._told_over:
            raise StopAsyncIteration
        with trio.move_on_at(self._until_s) as waiting:
            await self._news.wait()
        if waiting.cancelled_caught:
            self._over = self._over or f"{spelled_span(self._seconds)} are over: its limit"
            self._news.set()
        messages = self._take()
        if self._waiting:
            return Captured(messages=messages, seen=self._seen)
        if self._over:
            self._told_over = True
        else:
            self._news = trio.Event()
        return Captured(messages=messages, seen=self._seen, ended=self._over)

    async def aclose(self) -> None:
        """Catch nothing more."""
        self._closed(self)

    def _take(self) -> list[CapturedMessage]:
        taken: list[CapturedMessage] = []
        size_bytes = 0
        while self._waiting and len(taken) < TOLD_MESSAGES and size_bytes < TOLD_BYTES:
            taken.append(self._waiting.popleft())
            size_bytes += len(taken[-1].data)
        self._waiting_bytes -= size_bytes
        return taken
