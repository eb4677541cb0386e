"""The TCP probe: a server is up when it accepts a connection."""

from __future__ import annotations

import socket

import trio

from engine.config.schema import Health
from engine.health.connect import connect, failure, no_answer
from engine.health.result import ProbeResult, ProbeTarget


async def probe(target: ProbeTarget, health: Health) -> ProbeResult:
    """Open and close one connection to the target's port within the timeout."""
    listener = f"TCP {target.port}"
    asked_s = trio.current_time()
    with trio.move_on_after(health.timeout_s):
        try:
            stream = await connect(target.address, target.port, socket.SOCK_STREAM, source=target.source)
        except OSError as error:
            return failure(error, target.address, listener, target.source)
        stream.close()
        return ProbeResult(ok=True, reason=f"accepts on {listener}", rtt_s=trio.current_time() - asked_s)
    return no_answer(health.timeout_s)
