"""Sockets towards a real server, and their errors in words an operator can act on."""

from __future__ import annotations

import errno
import os
import socket

import trio

from engine.health.result import ProbeResult
from engine.net.sockets import IPV6_TRANSPARENT

_TRANSPARENT = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TRANSPARENT),
    socket.AF_INET6: (socket.IPPROTO_IPV6, IPV6_TRANSPARENT),
}
_OUT_OF_MEANS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRINUSE}


def family_of(address: str) -> socket.AddressFamily:
    """Tell the address family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def connect(
    address: str,
    port: int,
    kind: socket.SocketKind,
    protocol: int = 0,
    source: str | None = None,
    *,
    transparent: bool = False,
) -> trio.socket.SocketType:
    """Open a socket that talks to one address only, from `source` where one is given; `transparent`: whosever it is.

    Raises OSError: not permitted, no route, refused, `source` is no address of this machine.
    """
    sock = trio.socket.socket(family_of(address), kind, protocol)
    try:
        if transparent:
            sock.setsockopt(*_TRANSPARENT[family_of(address)], 1)
        if source is not None:
            await sock.bind((source, 0))
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def explain(error: OSError, address: str, listener: str, source: str | None = None) -> str:
    """Say what an error means for reaching `listener` ("UDP 500") at an address."""
    match error.errno:
        case errno.ECONNREFUSED:
            return f"connection refused: nothing listens on {listener}"
        case errno.ECONNRESET | errno.EPIPE:
            return f"connection reset on {listener}"
        case errno.ENETUNREACH:
            return f"no route to {address}"
        case errno.EHOSTUNREACH:
            return f"no route to {address}, or a firewall on the way rejects the probe"
        case errno.EADDRNOTAVAIL if source is not None:
            return f"cannot probe from {source}: it is not an address of this machine"
        case errno.EPERM | errno.EACCES:
            return f"a rule of this machine's firewall or routing forbids packets to {address}"
        case None:
            return str(error)
        case number:
            return f"cannot reach {listener}: {os.strerror(number)}"


def failure(error: OSError, address: str, listener: str, source: str | None = None) -> ProbeResult:
    """Turn an error into the result of the probe it ended."""
    return ProbeResult(
        ok=False,
        reason=explain(error, address, listener, source),
        rtt_s=None,
        inconclusive=error.errno in _OUT_OF_MEANS,
    )


def no_answer(timeout_s: float) -> ProbeResult:
    """Make the result of a probe that met silence."""
    return ProbeResult(ok=False, reason=f"no answer in {timeout_s:g}s", rtt_s=None)
