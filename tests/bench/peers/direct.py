"""No balancer: clients talk to a real server on a link of their own; shows what the load itself costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.config.schema import FastPath, Source

from ..processes import Process
from ..testbed import DIRECT_SERVER, Testbed

NAME = "direct"
TARGET = DIRECT_SERVER


def version() -> str:
    """What stands in the report as its version."""
    return "no balancer"


@contextmanager
def forwarding(bed: Testbed, source: Source, fast_path: FastPath = FastPath.OFF) -> Iterator[Process | None]:
    """Nothing has to run."""
    yield None
