"""The ICMP probe: an echo request, from an unprivileged ping socket where the kernel allows one."""

from __future__ import annotations

import secrets
import socket
import struct
from contextlib import suppress

import trio

from engine.config.schema import Health
from engine.health.connect import connect, failure, family_of, no_answer
from engine.health.result import ProbeResult, ProbeTarget

_NOT_PERMITTED = (
    "ICMP probes are not permitted: give the engine CAP_NET_RAW, or put its group into sysctl net.ipv4.ping_group_range"
)
_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_REQUEST_TYPE = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY_TYPE = {socket.AF_INET: 0, socket.AF_INET6: 129}
_ECHO = struct.Struct("!BBHHH")
_SEQUENCE = 1
_TOKEN_BYTES = 16
_DATAGRAM_BYTES = 65_535


async def probe(target: ProbeTarget, health: Health) -> ProbeResult:
    """Send one echo request and wait for its reply within the timeout."""
    with trio.move_on_after(health.timeout_s):
        try:
            sock = await _open(target)
            if sock is None:
                return ProbeResult(ok=False, reason=_NOT_PERMITTED, rtt_s=None)
            with sock:
                return await _echo(sock)
        except OSError as error:
            return failure(error, target.address, "ICMP", target.source)
    return no_answer(health.timeout_s)


async def _open(target: ProbeTarget) -> trio.socket.SocketType | None:
    """Open a ping socket, or a raw one where this group may have none; None: neither is permitted."""
    protocol = _PROTOCOL[family_of(target.address)]
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with suppress(PermissionError):
            return await connect(target.address, 0, kind, protocol, target.source)
    return None


async def _echo(sock: trio.socket.SocketType) -> ProbeResult:
    raw = sock.type == socket.SOCK_RAW
    # A ping socket's "port" is the identifier that the kernel writes over ours.
    identifier = secrets.randbits(16) if raw else sock.getsockname()[1]
    token = secrets.token_bytes(_TOKEN_BYTES)
    asked_s = trio.current_time()
    await sock.send(echo_request(sock.family, identifier, token))
    while True:
        packet = await sock.recv(_DATAGRAM_BYTES)
        message = without_ip_header(packet) if raw and sock.family == socket.AF_INET else packet
        if is_reply(sock.family, message, identifier, token):
            return ProbeResult(ok=True, reason="answers ping", rtt_s=trio.current_time() - asked_s)


def echo_request(family: int, identifier: int, token: bytes) -> bytes:
    """Write an echo request (RFC 792, RFC 4443 section 4.1); for IPv6 the kernel fills the checksum in."""
    kind = _REQUEST_TYPE[socket.AddressFamily(family)]
    unsummed = _ECHO.pack(kind, 0, 0, identifier, _SEQUENCE) + token
    checksum = internet_checksum(unsummed) if family == socket.AF_INET else 0
    return _ECHO.pack(kind, 0, checksum, identifier, _SEQUENCE) + token


def is_reply(family: int, message: bytes, identifier: int, token: bytes) -> bool:
    """Tell whether a message is the echo reply to our request: same identifier, sequence and token."""
    if len(message) < _ECHO.size:
        return False
    kind, code, _checksum, echoed_identifier, sequence = _ECHO.unpack_from(message)
    return (
        kind == _REPLY_TYPE[socket.AddressFamily(family)]
        and code == 0
        and (echoed_identifier, sequence) == (identifier, _SEQUENCE)
        and message[_ECHO.size :] == token
    )


def without_ip_header(packet: bytes) -> bytes:
    """Strip the IPv4 header, which a raw socket delivers; empty for a packet too short to have one."""
    return packet[(packet[0] & 0x0F) * 4 :] if packet else b""


def internet_checksum(data: bytes) -> int:
    """Sum 16-bit words in ones' complement (RFC 1071); `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
