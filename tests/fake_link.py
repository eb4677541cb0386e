"""The console's line to a fake engine, without a socket between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from fake_engine import STATUS, FakeEngine

from engine.control.calls import Call, Capture
from engine.control.captured import Captured
from engine.control.perform import perform
from engine.control.protocol import PROTOCOL
from engine.control.status import Hello
from ikeconsole.client import EngineUnreachable

R = TypeVar("R")


class FakeLink:
    """Carries calls to a fake engine; `broken` is what it says instead of an answer."""

    def __init__(self, api: FakeEngine | None = None, *, may_change: bool = True) -> None:
        self.api = api or FakeEngine()
        self.may_change = may_change
        self.broken = ""
        self.calls: list[Call[object]] = []
        self.passing: asyncio.Queue[Captured] = asyncio.Queue()
        """What a capture gets after what the engine has at its begin."""
        self.capturing: list[str] = []
        """The clients that are being captured."""

    async def ask(self, call: Call[R]) -> R:
        self._fail()
        self.calls.append(call)
        return await perform(self.api, call, "tester", unrestricted=True)  # type: ignore[return-value]

    async def greet(self) -> Hello:
        self._fail()
        return Hello(
            protocol=PROTOCOL,
            version=STATUS.version,
            host=STATUS.host,
            pid=STATUS.pid,
            config_path=STATUS.config_path,
            may_change=self.may_change,
        )

    async def capture(self, call: Capture) -> AsyncGenerator[Captured, None]:
        self._fail()
        if self.api.failure is not None:
            raise self.api.failure
        self.capturing.append(call.client)
        try:
            for captured in self.api.captured:
                yield captured
            while True:
                yield await self.passing.get()
        finally:
            self.capturing.remove(call.client)

    def close(self) -> None:
        pass

    def _fail(self) -> None:
        if self.broken:
            raise EngineUnreachable(self.broken)
