"""The TCP probe on loopback."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from engine.config.schema import Duration, Health, HealthKind
from engine.health import tcp
from engine.health.result import ProbeTarget

HEALTH = Health(type=HealthKind.TCP, timeout_s=Duration(2))


@pytest.mark.trio
async def test_open_port_is_up_from_the_source_address() -> None:
    """A port that accepts is up, asked from the address that was given."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = await tcp.probe(ProbeTarget("rs1", "127.0.0.1", port, "127.0.0.77"), HEALTH)
        accepted, peer = await listener.accept()
        accepted.close()
    assert (result.ok, result.reason) == (True, f"accepts on TCP {port}")
    assert result.rtt_s is not None
    assert peer[0] == "127.0.0.77"


@pytest.mark.trio
async def test_closed_port_is_down() -> None:
    """A port that refuses is down at once, with the port in the reason."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        result = await tcp.probe(ProbeTarget("rs1", "127.0.0.1", port, None), HEALTH)
    assert (result.ok, result.reason) == (False, f"connection refused: nothing listens on TCP {port}")


@pytest.mark.trio
async def test_full_backlog_times_out(patient_clock: trio.testing.MockClock) -> None:
    """A server that accepts no more connections is down after the timeout."""
    with trio.socket.socket() as listener, trio.socket.socket() as first:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        await first.connect(listener.getsockname())
        target = ProbeTarget("rs1", "127.0.0.1", listener.getsockname()[1], None)
        result = await tcp.probe(target, HEALTH)
    assert (result.ok, result.reason) == (False, "no answer in 2s")
