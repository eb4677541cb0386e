"""What the tests of the whole engine share."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest


@pytest.fixture
def ipv6_ports() -> tuple[int, ...]:
    """Four UDP ports that are free on the one IPv6 loopback address."""
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(4)]
        for sock in socks:
            sock.bind(("::1", 0))
        return tuple(sock.getsockname()[1] for sock in socks)
