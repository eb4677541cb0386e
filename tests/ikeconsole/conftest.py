"""Commands are run against a fake engine behind a real control socket; consoles keep what they remember nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from console_pictures import HOMES
from served_engine import ServedEngine


@pytest.fixture(scope="session", autouse=True)
def _no_homes_left() -> Iterator[None]:
    yield
    HOMES.cleanup()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ServedEngine]:
    served = ServedEngine(tmp_path / "control.sock")
    served.start()
    yield served
    served.stop()
