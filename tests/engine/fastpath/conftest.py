"""The balancer over which packets are run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bpf_objects import require_bpf
from fastpath_world import World, world


@pytest.fixture(scope="module", name="shared_world")
def _shared_world() -> Iterator[World]:
    """One for all tests of a module, which leave its network as it is."""
    require_bpf()
    with world() as built:
        yield built


@pytest.fixture(name="fresh_world")
def _fresh_world() -> Iterator[World]:
    """One for a test that changes its network."""
    require_bpf()
    with world() as built:
        yield built
