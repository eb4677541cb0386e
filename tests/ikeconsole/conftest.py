"""Commands are run against a fake engine behind a real control socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served_engine import ServedEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ServedEngine]:
    served = ServedEngine(tmp_path / "control.sock")
    served.start()
    yield served
    served.stop()
