"""When no more files may be opened, a few connections still can be had, and more again once they have ended."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock

from engine.control.reserve import FILLED_EVERY_S, KEPT, ReservingListener


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no more files than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.trio
async def test_connections_are_accepted_from_the_reserve_and_it_is_filled_again(autojump_clock: MockClock) -> None:
    sock = trio.socket.socket()
    await sock.bind(("127.0.0.1", 0))
    sock.listen()
    async with ReservingListener(trio.SocketListener(sock)) as listening:
        for _ in range(2):
            clients = [trio.socket.socket() for _ in range(KEPT + 1)]
            with no_more_files():
                for client in clients:
                    await client.connect(sock.getsockname())
                served = [await listening.accept() for _ in range(KEPT)]
                with pytest.raises(OSError, match="Too many open files"):
                    await listening.accept()
                await served.pop().aclose()
                served.append(await listening.accept())
            for stream in served:
                await stream.aclose()
            for client in clients:
                client.close()
            with trio.move_on_after(2 * FILLED_EVERY_S):
                await listening.accept()
