"""A simulated real server: it sets up IKE SAs and answers ESP, but has no keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from engine.net.sockets import listener
from engine.wire.algorithms import TransformType
from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify, esp_spi
from engine.wire.errors import WireError
from engine.wire.header import IKEV2, Exchange, IkeHeader, parse_header
from engine.wire.notifies import NotifyType
from engine.wire.payloads import Message, parse_message
from ikeconsole.demo.messages import (
    AES_GCM,
    DATAGRAM_BYTES,
    INFORMATIONAL_BYTES,
    Purpose,
    Sealed,
    esp_packet,
    init_response,
    notify_response,
    random_spi,
    seal_response,
    unseal,
)

MAX_IKE_SAS = 10_000
"""When this many are known, the oldest makes room."""

_VERSION_AT = 17
_COOKIE_BYTES = 24
_AUTH_RESPONSE_BYTES = 1400
_SMALLEST_ANSWER_BYTES, _LARGEST_ANSWER_BYTES = 80, 1300


@dataclass(slots=True)
class _IkeSa:
    spi_r: int
    esp_in: int
    esp_out: int = 0
    """0 until the client has authenticated itself."""
    sequence: int = 0


class VpnServer:
    """What a real server answers, without any I/O; `demands_cookies` as under many half-open IKE SAs."""

    def __init__(self, rng: Random, *, demands_cookies: bool = False) -> None:
        self.demands_cookies = demands_cookies
        self._random = rng
        self._cookie = rng.randbytes(_COOKIE_BYTES)
        self._by_spi_i: dict[int, _IkeSa] = {}
        self._by_esp_spi: dict[int, _IkeSa] = {}

    @property
    def ike_sas(self) -> int:
        """How many IKE SAs it knows, half-open ones included."""
        return len(self._by_spi_i)

    def forget(self) -> None:
        """Lose every SA, as by a restart."""
        self._by_spi_i.clear()
        self._by_esp_spi.clear()

    def answer(self, datagram: bytes, *, nat_t: bool) -> list[bytes]:
        """Answer a datagram that came to the IKE port or (`nat_t`) the NAT-T port; nonsense gets no answer."""
        try:
            match classify(datagram, len(datagram), nat_t):
                case Kind.IKE:
                    marker = NON_ESP_MARKER if nat_t else b""
                    return [marker + message for message in self._ike(datagram[len(marker) :])]
                case Kind.ESP:
                    return self._esp(datagram)
                case Kind.KEEPALIVE:
                    return []
        except WireError:
            return []

    def _ike(self, data: bytes) -> Iterable[bytes]:
        if len(data) > _VERSION_AT and data[_VERSION_AT] >> 4 > IKEV2 >> 4:
            as_version_2 = data[:_VERSION_AT] + bytes([IKEV2]) + data[_VERSION_AT + 1 :]
            return [notify_response(parse_header(as_version_2), NotifyType.INVALID_MAJOR_VERSION)]
        header = parse_header(data)
        if header.response:
            return []
        if header.exchange == Exchange.IKE_SA_INIT:
            return [self._init(parse_message(data))]
        sa = self._by_spi_i.get(header.spi_i)
        if sa is None or sa.spi_r != header.spi_r:
            return [notify_response(header, NotifyType.INVALID_IKE_SPI)]
        return self._encrypted(sa, unseal(data))

    def _init(self, request: Message) -> bytes:
        header = request.header
        if not _acceptable(request):
            return notify_response(header, NotifyType.NO_PROPOSAL_CHOSEN)
        cookie = request.notify(NotifyType.COOKIE)
        if self.demands_cookies and (cookie is None or cookie.data != self._cookie):
            return notify_response(header, NotifyType.COOKIE, self._cookie)
        sa = self._by_spi_i.get(header.spi_i) or self._new_sa(header)
        return init_response(self._random, header, sa.spi_r)

    def _new_sa(self, header: IkeHeader) -> _IkeSa:
        if len(self._by_spi_i) >= MAX_IKE_SAS:
            self._delete(next(iter(self._by_spi_i)))
        sa = _IkeSa(spi_r=random_spi(self._random, 64), esp_in=random_spi(self._random, 32))
        self._by_spi_i[header.spi_i] = sa
        return sa

    def _encrypted(self, sa: _IkeSa, request: Sealed) -> list[bytes]:
        match request.purpose:
            case Purpose.AUTHENTICATE:
                sa.esp_out = request.esp_spi
                self._by_esp_spi[sa.esp_in] = sa
                return [seal_response(self._random, request, esp_spi=sa.esp_in, size_bytes=_AUTH_RESPONSE_BYTES)]
            case Purpose.DELETE:
                self._delete(request.header.spi_i)
            case Purpose.CHECK_LIVENESS | Purpose.MOVE:
                pass
        return [seal_response(self._random, request, size_bytes=INFORMATIONAL_BYTES)]

    def _delete(self, spi_i: int) -> None:
        sa = self._by_spi_i.pop(spi_i)
        self._by_esp_spi.pop(sa.esp_in, None)

    def _esp(self, packet: bytes) -> list[bytes]:
        sa = self._by_esp_spi.get(esp_spi(packet))
        if sa is None:
            return []
        sa.sequence += 1
        content_bytes = self._random.randint(_SMALLEST_ANSWER_BYTES, _LARGEST_ANSWER_BYTES)
        return [esp_packet(self._random, sa.esp_out, sa.sequence, content_bytes)]


class Responder:
    """A real server on two UDP ports; while `failed` it hears everything and says nothing."""

    def __init__(self, address: str, ike_port: int, nat_t_port: int, server: VpnServer) -> None:
        self.server = server
        self.failed = False
        self._address = address
        self._ike_port = ike_port
        self._nat_t_port = nat_t_port

    def fail(self) -> None:
        """Fall silent."""
        self.failed = True

    def restart(self) -> None:
        """Come back without any of the SAs from before."""
        self.server.forget()
        self.failed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; raises BindError when a port cannot be had."""
        with _bound(self._address, self._ike_port) as ike, _bound(self._address, self._nat_t_port) as nat_t:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self._serve, ike, nat_t=False))
                nursery.start_soon(partial(self._serve, nat_t, nat_t=True))
                task_status.started()

    async def _serve(self, sock: trio.socket.SocketType, *, nat_t: bool) -> None:
        while True:
            datagram, balancer = await sock.recvfrom(DATAGRAM_BYTES)
            if not self.failed:
                for answer in self.server.answer(datagram, nat_t=nat_t):
                    await sock.sendto(answer, balancer)


def _bound(address: str, port: int) -> trio.socket.SocketType:
    """A UDP socket with its own address; raises BindError when it cannot be had."""
    return trio.socket.from_stdlib_socket(listener(address, port))


def _acceptable(request: Message) -> bool:
    return any(
        transform.type == TransformType.ENCRYPTION and transform.id == AES_GCM
        for proposal in request.proposals
        for transform in proposal.transforms
    )
