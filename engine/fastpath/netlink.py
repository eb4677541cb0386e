"""Questions to the kernel over netlink: messages, attributes and errors, whatever they mean.

pyroute2 was tried: a thousand neighbours take it 40 ms, during which no packet passes the slow path, and it knows
nothing of the generic netlink family that tells what a driver's XDP can do.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import count
from socket import AF_NETLINK, SOCK_RAW, socket
from types import TracebackType
from typing import Final, Self

from engine.fastpath.errors import FastPathError

SOL_NETLINK: Final = 270
NETLINK_ROUTE: Final = 0
NETLINK_GENERIC: Final = 16
DUMP: Final = 0x300
"""Flag of a question that asks for everything there is."""

_REQUEST: Final = 0x1
_ACKNOWLEDGE: Final = 0x4
_INTERRUPTED: Final = 0x10
_EXPLAINED: Final = 0x200
_NOTHING, _ERROR, _DONE = 1, 2, 3

_CAPPED_ERRORS, _EXPLAINED_ERRORS = 10, 11
_EXPLANATION: Final = 1
_NESTING_FLAGS: Final = 0xC000

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_STATUS: Final = struct.Struct("=i")

_ANSWER_BYTES: Final = 1 << 18
_PATIENCE_S: Final = 2.0
_ATTEMPTS: Final = 3
_REMEDIES: Final = {
    errno.EPERM: "run as root or give CAP_NET_ADMIN",
    errno.EACCES: "run as root or give CAP_NET_ADMIN",
    errno.EAFNOSUPPORT: "allow AF_NETLINK sockets (RestrictAddressFamilies= of the systemd unit)",
    errno.EPROTONOSUPPORT: "use a kernel with this netlink family",
}


class NetlinkError(FastPathError):
    """The kernel refused a question; the message says what to do where there is something to do."""

    def __init__(self, code: int, explanation: str = "") -> None:
        said = explanation or os.strerror(code)
        remedy = _REMEDIES.get(code)
        super().__init__(f"the kernel refused over netlink: {said}{f'; {remedy}' if remedy else ''}")
        self.errno = code


class Netlink:
    """A socket for questions that the kernel answers at once."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        try:
            self._socket = socket(AF_NETLINK, SOCK_RAW, protocol)
        except OSError as error:
            raise NetlinkError(error.errno or 0) from error
        self._numbers = count(1)
        self._socket.settimeout(_PATIENCE_S)
        for option in (_CAPPED_ERRORS, _EXPLAINED_ERRORS):
            self._socket.setsockopt(SOL_NETLINK, option, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """The bodies of all answers to one question; a listing that changed meanwhile is asked for again.

        Raises:
            NetlinkError: the kernel refuses, or does not answer.
        """
        for _ in range(_ATTEMPTS):
            answers, whole = self._ask(kind, body, flags)
            if whole:
                break
        return answers

    def tell(self, kind: int, bodies: Iterable[bytes]) -> None:
        """Many requests whose outcomes do not matter, in one datagram."""
        requests = b"".join(message(kind, body, _REQUEST, next(self._numbers)) for body in bodies)
        if not requests:
            return
        try:
            self._socket.send(requests)
        except OSError as error:
            raise NetlinkError(error.errno or 0) from error

    def _ask(self, kind: int, body: bytes, flags: int) -> tuple[list[bytes], bool]:
        number = next(self._numbers)
        answers: list[bytes] = []
        whole = True
        try:
            self._socket.send(message(kind, body, _REQUEST | _ACKNOWLEDGE | flags, number))
            while True:
                for answer_kind, answer_flags, answer_number, answer in messages(self._socket.recv(_ANSWER_BYTES)):
                    if answer_number != number:
                        continue
                    whole = whole and not answer_flags & _INTERRUPTED
                    if answer_kind in (_DONE, _ERROR):
                        _check(answer, answer_flags)
                        return answers, whole
                    if answer_kind != _NOTHING:
                        answers.append(answer)
        except OSError as error:
            raise NetlinkError(error.errno or errno.ETIMEDOUT) from error


def message(kind: int, body: bytes, flags: int, number: int) -> bytes:
    """One message with its header, padded so that another may follow."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body + bytes(-len(body) % 4)


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, number and body of each message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        size_bytes, kind, flags, number, _ = _HEADER.unpack_from(datagram, offset)
        if size_bytes < _HEADER.size:
            return
        yield kind, flags, number, datagram[offset + _HEADER.size : offset + size_bytes]
        offset += _aligned(size_bytes)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded so that another may follow."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(body: bytes, offset: int = 0) -> dict[int, bytes]:
    """The payloads of the attributes after a fixed part of `offset` bytes, by kind."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(body):
        size_bytes, kind = _ATTRIBUTE.unpack_from(body, offset)
        if size_bytes < _ATTRIBUTE.size:
            break
        found[kind & ~_NESTING_FLAGS] = body[offset + _ATTRIBUTE.size : offset + size_bytes]
        offset += _aligned(size_bytes)
    return found


def _aligned(size_bytes: int) -> int:
    return (size_bytes + 3) & ~3


def _check(answer: bytes, flags: int) -> None:
    (status,) = _STATUS.unpack_from(answer)
    if not status:
        return
    explained = attributes(answer, _STATUS.size + _HEADER.size) if flags & _EXPLAINED else {}
    raise NetlinkError(-status, explained.get(_EXPLANATION, b"").rstrip(b"\0").decode(errors="replace"))
