"""Hears what comes from IKE ports to this machine, whoever sends it and whether or not a socket waits for it.

A connected upstream socket only gets what its real server sends from the address it was asked at; the kernel drops the
rest. A raw socket gets copies of that, too, at a price for every UDP datagram: so it is open only for a while.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Collection, Iterator

from engine.net.sockets import family_of

# Names that the socket module lacks (asm-generic/socket.h, linux/bpf_common.h).
SO_ATTACH_FILTER = 26
LOAD_HALF, LOAD_HALF_AT_X, LOAD_HEADER_SIZE_TO_X, IF_EQUAL, RETURN = 0x28, 0x48, 0xB1, 0x15, 0x06
WHOLE_BYTES = 0xFFFF

UDP_HEADER = struct.Struct("!HHHH")


class Overhearing:
    """A raw socket; use it in a `with` block."""

    def __init__(self, host: str, ports: Collection[int]) -> None:
        """Hear what comes from these UDP ports, in the address family of `host`; raises OSError."""
        self._is_v4 = family_of(host) == socket.AF_INET
        self._ports = frozenset(ports)
        self._socket = socket.socket(
            family_of(host), socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_UDP
        )
        try:
            self._attach(_program(self._ports, behind_ip_header=self._is_v4))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Overhearing:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def heard(self) -> Iterator[tuple[str, int, int]]:
        """What has come since: source address, source port, and the port of this machine that it came to."""
        while True:
            try:
                data, address = self._socket.recvfrom(WHOLE_BYTES)
            except OSError:
                return
            # An IPv4 raw socket gives the IP header as well.
            at = (data[0] & 0xF) * 4 if self._is_v4 and data else 0
            if len(data) >= at + UDP_HEADER.size:
                source_port, port, _, _ = UDP_HEADER.unpack_from(data, at)
                # What came before the filter was there may have come from anywhere.
                if source_port in self._ports:
                    yield address[0].partition("%")[0], source_port, port

    def _attach(self, program: bytes) -> None:
        instructions = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)


def _program(ports: Collection[int], *, behind_ip_header: bool) -> bytes:
    """Classic BPF (bpf(4)) that takes datagrams from these ports."""
    load = [(LOAD_HEADER_SIZE_TO_X, 0, 0, 0), (LOAD_HALF_AT_X, 0, 0, 0)] if behind_ip_header else [(LOAD_HALF, 0, 0, 0)]
    match = [step for port in ports for step in ((IF_EQUAL, 0, 1, port), (RETURN, 0, 0, WHOLE_BYTES))]
    return b"".join(struct.pack("=HBBI", *step) for step in (*load, *match, (RETURN, 0, 0, 0)))
