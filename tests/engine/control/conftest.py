"""A fake engine behind a real control socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from control_peers import Door
from fake_engine import FakeEngine

from engine.control import server


@pytest.fixture
async def door(tmp_path: Path, engine: FakeEngine, nursery: trio.Nursery) -> AsyncIterator[Door]:
    door = Door(tmp_path / "run" / "control.sock")
    await nursery.start(server.serve, engine, door.path)
    yield door
    for stream in door.streams:
        stream.socket.close()
    nursery.cancel_scope.cancel()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
