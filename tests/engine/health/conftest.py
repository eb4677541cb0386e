"""Clock for tests that talk over loopback."""

from __future__ import annotations

import pytest
import trio.testing


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """A clock that jumps over timeouts once the sockets have been still for a moment of real time."""
    return trio.testing.MockClock(autojump_threshold=0.1)
