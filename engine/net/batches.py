"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), through ctypes.

One call for up to 64 datagrams costs little more than Python's own call for one, and addresses stay the bytes that the
kernel gave: nothing is formatted or parsed for a datagram of a known flow.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from engine.sessions.flow import SocketAddress

SLOTS: Final = 64
LAST_SLOT: Final = SLOTS - 1
SLOT_BYTES: Final = 65_536
SLOT_STRIDE: Final = SLOT_BYTES + 17 * 64
"""From one slot to the next: with a power of two, the starts of all slots would compete for a few cache lines."""
NAME_BYTES: Final = 28
"""Room for a sockaddr_in6, the longer kind."""
_CONTROL_AT = -(-NAME_BYTES // 8) * 8
_CONTROL_BYTES = socket.CMSG_SPACE(NAME_BYTES)
_CONTROL_HEAD_BYTES = socket.CMSG_LEN(0)

_MSG_DONTWAIT = socket.MSG_DONTWAIT
_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_SCOPE = struct.Struct("=I")
_INET, _INET6 = socket.AF_INET, socket.AF_INET6
_FAMILY_V6 = _FAMILY.pack(_INET6)
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


class _MessageHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _MessageHeader), ("size", ctypes.c_uint32))


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


_MESSAGE_BYTES = ctypes.sizeof(_Message)
_SIZE_STEP = _MESSAGE_BYTES // 4
_SIZE_AT = _Message.size.offset // 4
_VECTOR_STEP = ctypes.sizeof(_Vector) // 8
_VECTOR_SIZE_AT = _Vector.size.offset // 8

_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_recvmmsg.restype = ctypes.c_int
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_sendmmsg.restype = ctypes.c_int


class Slots:
    """Room for a batch of datagrams of any size; pages that are never touched take no memory."""

    def __init__(self) -> None:
        self._area = mmap.mmap(-1, SLOTS * SLOT_STRIDE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._area))
        whole = memoryview(self._area)
        self.views = [whole[at : at + SLOT_BYTES] for at in range(0, SLOTS * SLOT_STRIDE, SLOT_STRIDE)]
        self._words = whole.cast("I")
        self.first_words = self.words(0)
        """The first four bytes of each slot as a number: 0 for the non-ESP marker."""

    def words(self, at: int) -> memoryview:
        """The four bytes from `at` on, a multiple of 4, of each slot as a number."""
        return self._words[at // 4 :: SLOT_STRIDE // 4]

    def address(self, slot: int) -> int:
        """Where a slot begins in memory."""
        return self._start + slot * SLOT_STRIDE


class Receiver:
    """Fills slots from a socket with many peers; from one only, for the kernel notes how long its addresses are."""

    def __init__(self, family: socket.AddressFamily, slots: Slots, *, destinations: bool = False) -> None:
        """Receive into slots; `destinations`: from a socket that reports where its datagrams were sent to."""
        self._slots = slots  # the kernel is given their addresses: they must live as long
        self._messages = (_Message * SLOTS)()
        self._vectors = (_Vector * SLOTS)()
        # Of each datagram its peer, and behind that what the kernel reports of its destination.
        self._reported = _layout(raw_bytes(family), destinations=destinations)
        step = self._reported.size
        self._reports = (ctypes.c_char * (SLOTS * step))()
        for slot, (message, vector) in enumerate(zip(self._messages, self._vectors, strict=True)):
            report = ctypes.addressof(self._reports) + slot * step
            vector.base, vector.size = slots.address(slot), SLOT_BYTES
            if destinations:
                message.header.control = report + _CONTROL_AT
                message.header.control_bytes = _CONTROL_BYTES
            message.header.vectors = ctypes.addressof(vector)
            message.header.vector_count = 1
            message.header.name = report
            message.header.name_bytes = NAME_BYTES
        self._report_bytes = memoryview(self._reports)
        self._address = ctypes.addressof(self._messages)
        self._fresh = bytes(self._messages) if destinations else b""
        self.sizes = memoryview(self._messages).cast("B").cast("I")[_SIZE_AT::_SIZE_STEP]
        """Bytes in each slot, after `receive`."""

    def receive(self, fileno: int) -> int:
        """Fill the first slots with what has arrived; returns how many, 0 for none. Raises OSError."""
        if self._fresh:
            # The kernel notes how much it reported of each datagram, which must not limit what it reports of the next.
            ctypes.memmove(self._address, self._fresh, len(self._fresh))
        received: int = _recvmmsg(fileno, self._address, SLOTS, _MSG_DONTWAIT, None)
        if received < 0:
            _raise_unless_empty()
            return 0
        return received

    def addresses(self, count: int) -> Iterator[tuple[bytes, ...]]:
        """The raw addresses of the datagrams in the first slots: the peer's, and the destination if it is reported."""
        return self._reported.iter_unpack(self._report_bytes[: count * self._reported.size])


class Sender:
    """Sends datagrams that lie in slots from one socket to many peers.

    For each slot set `sizes[slot]`, and its peer's raw address in `peers` from `slot * NAME_BYTES` on; then `send`.
    """

    def __init__(self, fileno: int, family: socket.AddressFamily, slots: Slots) -> None:
        self._fileno = fileno
        self._slots = slots  # the kernel is given their addresses: they must live as long
        self._messages = (_Message * SLOTS)()
        self._vectors = (_Vector * SLOTS)()
        self._names = (ctypes.c_char * (SLOTS * NAME_BYTES))()
        for slot, (message, vector) in enumerate(zip(self._messages, self._vectors, strict=True)):
            vector.base = slots.address(slot)
            message.header.vectors = ctypes.addressof(vector)
            message.header.vector_count = 1
            message.header.name = ctypes.addressof(self._names) + slot * NAME_BYTES
            message.header.name_bytes = raw_bytes(family)
        self._address = ctypes.addressof(self._messages)
        self.sizes = memoryview(self._vectors).cast("B").cast("Q")[_VECTOR_SIZE_AT::_VECTOR_STEP]
        """Bytes of the datagram in each slot."""
        self.peers = memoryview(self._names).cast("B")
        """Raw socket addresses, each `NAME_BYTES` after the one before."""

    def send(self, first: int, end: int, failed: Callable[[int, int], None]) -> None:
        """Send the slots from `first` up to before `end`; `failed` gets slot and errno of each that cannot."""
        while first < end:
            sent = _sendmmsg(self._fileno, self._address + first * _MESSAGE_BYTES, end - first, _MSG_DONTWAIT)
            if sent < 0:
                failed(first, ctypes.get_errno())
                sent = 1
            first += sent


def _layout(address_bytes: int, *, destinations: bool) -> struct.Struct:
    name = f"{address_bytes}s{_CONTROL_AT - address_bytes}x"
    behind = _CONTROL_BYTES - _CONTROL_HEAD_BYTES - address_bytes
    return struct.Struct(f"{name}{_CONTROL_HEAD_BYTES}x{address_bytes}s{behind}x" if destinations else name)


def raw_bytes(family: socket.AddressFamily) -> int:
    """How many bytes of a raw socket address identify a peer of a family."""
    return 28 if family == socket.AF_INET6 else 16


def family_of(raw: bytes) -> socket.AddressFamily:
    """The address family of a raw socket address."""
    return _INET6 if raw[:2] == _FAMILY_V6 else _INET


def to_raw(address: SocketAddress) -> bytes:
    """An address as the kernel writes it (ip(7), ipv6(7))."""
    host, port = address[0], address[1]
    if ":" in host:
        scope = address[3] if len(address) == 4 else 0
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return _FAMILY.pack(socket.AF_INET6) + _PORT.pack(port) + bytes(4) + packed + _SCOPE.pack(scope)
    return _FAMILY.pack(socket.AF_INET) + _PORT.pack(port) + socket.inet_pton(socket.AF_INET, host) + bytes(8)


def from_raw(raw: bytes) -> SocketAddress:
    """The address that raw bytes stand for, in the form that Python's own sockets give."""
    (port,) = _PORT.unpack_from(raw, 2)
    if raw[:2] == _FAMILY_V6:
        (scope,) = _SCOPE.unpack_from(raw, 24)
        host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        return (f"{host}%{_interface(scope)}" if scope else host, port, 0, scope)
    return (socket.inet_ntop(socket.AF_INET, raw[4:8]), port)


def mapped_address(raw: bytes) -> bytes:
    """The 16 bytes of the IPv6 address in a raw one, or of the IPv4 address as IPv6 writes it (RFC 4291)."""
    return raw[8:24] if raw[:2] == _FAMILY_V6 else _MAPPED_PREFIX + raw[4:8]


def _interface(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        # Gone since the datagram came.
        return str(scope)


def _raise_unless_empty() -> None:
    number = ctypes.get_errno()
    if number not in (errno.EAGAIN, errno.EINTR):
        raise OSError(number, os.strerror(number))
