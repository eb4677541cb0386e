"""A million ways to be wrong: datagrams that no honest client sends, and who they pretend to come from."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from engine.wire.build import build_message, nonce_payload
from engine.wire.encapsulation import KEEPALIVE, NON_ESP_MARKER
from engine.wire.header import HEADER_SIZE_BYTES, Exchange, IkeHeader
from engine.wire.payloads import PayloadType

LARGEST_UDP_BYTES = 65_507
IP_PKTINFO = 8
"""Missing in the socket module of Python 3.11 (linux/in.h)."""
IKE, NAT_T = False, True

Datagram: TypeAlias = tuple[bool, bytes]
"""Whether it goes to the NAT-T port, and what it says."""

_EXCHANGES = tuple(Exchange)
_VERSION_AT = 17
_PKTINFO = struct.Struct("=I4s4s")


class Garbage:
    """An endless supply of datagrams, each made anew from a seed and from `real` ones to be spoilt."""

    def __init__(self, rng: Random, real: Sequence[Datagram]) -> None:
        self._random = rng
        self._real = real
        self._kinds: dict[Callable[[], Datagram], float] = {
            self._noise: 25,
            self._spoilt: 10,
            self._cut_short: 15,
            self._other_version: 12,
            self._lying_length: 12,
            self._without_spi: 12,
            self._broken_chain: 3,
            self._init: 3,
            self._stray_message: 2,
            self._esp: 3,
            self._keepalive: 6,
            self._huge: 0.1,
        }

    def batch(self, count: int) -> list[Datagram]:
        """The next `count` datagrams."""
        makers = self._random.choices(list(self._kinds), list(self._kinds.values()), k=count)
        return [make() for make in makers]

    def _noise(self) -> Datagram:
        """Random bytes, of no length more often than chance would have it."""
        rng = self._random
        size = rng.choice((rng.randrange(64), rng.randrange(1_500)))
        return rng.random() < 0.2, rng.randbytes(size)

    def _spoilt(self) -> Datagram:
        """A real datagram with some bytes changed, on the port it was for."""
        nat_t, real = self._random.choice(self._real)
        spoilt = bytearray(real)
        for _ in range(self._random.randint(1, 4)):
            spoilt[self._random.randrange(min(len(spoilt), 64))] = self._random.randrange(256)
        return nat_t, bytes(spoilt)

    def _cut_short(self) -> Datagram:
        """The beginning of a real IKE message or ESP packet."""
        nat_t, real = self._random.choice(self._real)
        return nat_t, real[: self._random.randrange(len(real))]

    def _other_version(self) -> Datagram:
        """IKEv1, IKEv3 and so on."""
        nat_t, message = self._ike()
        message[_VERSION_AT + nat_t * 4] = self._random.choice((0x10, 0x00, 0x30, 0xFF, self._random.randrange(256)))
        return nat_t, bytes(message)

    def _lying_length(self) -> Datagram:
        """A message that says it is longer than it is, or too short to be one."""
        rng = self._random
        nat_t, message = self._ike()
        size = len(message) - nat_t * 4
        lie = rng.choice((0, rng.randrange(HEADER_SIZE_BYTES), size + rng.randrange(1, 99), 0xFFFFFFFF))
        struct.pack_into("!I", message, nat_t * 4 + 24, lie)
        return nat_t, bytes(message)

    def _without_spi(self) -> Datagram:
        """A message of no IKE SA."""
        nat_t, message = self._ike()
        struct.pack_into("!Q", message, nat_t * 4, 0)
        return nat_t, bytes(message)

    def _broken_chain(self) -> Datagram:
        """A good header before payloads that make no sense."""
        rng = self._random
        content = rng.randbytes(rng.randrange(400))
        header = IkeHeader(
            spi_i=self._spi(),
            spi_r=rng.choice((0, self._spi())),
            next_payload=rng.randrange(256),
            version=0x20,
            exchange=rng.choice((*Exchange, rng.randrange(256))),
            flags=rng.randrange(256),
            message_id=rng.getrandbits(32),
            length=HEADER_SIZE_BYTES + len(content),
        )
        return self._either(header.pack() + content)

    def _init(self) -> Datagram:
        """A well-made beginning of an IKE SA that will never be finished."""
        return self._either(self._message(Exchange.IKE_SA_INIT, 0))

    def _stray_message(self) -> Datagram:
        """An encrypted message of an IKE SA that nobody has."""
        return self._either(self._message(self._random.choice(_EXCHANGES), self._spi()))

    def _esp(self) -> Datagram:
        """ESP of a SA that nobody has."""
        rng = self._random
        return NAT_T, struct.pack("!II", rng.randrange(1, 1 << 32), 1) + rng.randbytes(rng.randrange(200))

    def _keepalive(self) -> Datagram:
        """A keepalive of a client that never was, or something as short."""
        rng = self._random
        return rng.random() < 0.7, rng.choice((KEEPALIVE, KEEPALIVE * 2, b"", b"\0", NON_ESP_MARKER, b"\0\0\0\1"))

    def _huge(self) -> Datagram:
        """As big as UDP allows, or nearly; some with a header that is right about it."""
        rng = self._random
        size = rng.randint(9_000, LARGEST_UDP_BYTES - 4)
        if rng.random() < 0.5:
            return rng.random() < 0.5, rng.randbytes(size)
        body = rng.randbytes(size - HEADER_SIZE_BYTES - 4)
        return self._either(build_message([(PayloadType.SK, body)], spi_i=self._spi(), spi_r=self._spi()))

    def _ike(self) -> tuple[bool, bytearray]:
        """A well-made message to be spoilt, on either port."""
        nat_t, message = self._either(self._message(self._random.choice(_EXCHANGES), self._spi()))
        return nat_t, bytearray(message)

    def _message(self, exchange: Exchange, spi_r: int) -> bytes:
        body = self._random.randbytes(self._random.randrange(16, 256))
        payload = nonce_payload(body) if exchange is Exchange.IKE_SA_INIT else (PayloadType.SK, body)
        return build_message([payload], spi_i=self._spi(), spi_r=spi_r, exchange=exchange)

    def _either(self, message: bytes) -> Datagram:
        return (NAT_T, NON_ESP_MARKER + message) if self._random.random() < 0.5 else (IKE, message)

    def _spi(self) -> int:
        return self._random.randrange(1, 1 << 64)


class Strangers:
    """Sockets on many ports, each able to send from any address of 127.0.0.0/8."""

    def __init__(self, rng: Random, ike: tuple[str, int], nat_t: tuple[str, int], ports: int) -> None:
        self._random = rng
        self._targets = {IKE: ike, NAT_T: nat_t}
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(ports)]
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.bind(("0.0.0.0", 0))

    def send(self, datagrams: list[Datagram]) -> None:
        """Send each from somebody else."""
        choice, targets = self._random.choice, self._targets
        for nat_t, payload in datagrams:
            info = _PKTINFO.pack(0, self._address(), bytes(4))
            choice(self._sockets).sendmsg([payload], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, targets[nat_t])

    def close(self) -> None:
        """Give the ports back."""
        for sock in self._sockets:
            sock.close()

    def _address(self) -> bytes:
        """Mostly one of a few, which then send on flows that exist; else one of a million."""
        rng = self._random
        return bytes((127, 64, 0, rng.randrange(16))) if rng.random() < 0.97 else bytes((127, *rng.randbytes(3)))
