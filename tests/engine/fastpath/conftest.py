"""The balancer over which packets are run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bpf_objects import require_bpf
from fastpath_world import World, world

from engine.fastpath.pins import BPF_FILE_SYSTEM, Pins


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


@pytest.fixture
def pins() -> Iterator[Pins]:
    """A place in the BPF file system for this test."""
    require_bpf()
    if not BPF_FILE_SYSTEM.is_mount():
        pytest.skip("no BPF file system is mounted")
    made = Pins(f"test-{os.getpid()}")
    made.begin()
    yield made
    made.drop()
    assert not made.exist
