"""The console's line to a fake engine, without a socket between them."""

from __future__ import annotations

from typing import TypeVar

from fake_engine import STATUS, FakeEngine

from engine.control.calls import Call
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

    async def ask(self, call: Call[R]) -> R:
        self._fail()
        self.calls.append(call)
        return await perform(self.api, call, "tester")  # type: ignore[return-value]

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

    def close(self) -> None:
        pass

    def _fail(self) -> None:
        if self.broken:
            raise EngineUnreachable(self.broken)
