"""The client's end of a simulated tunnel: what it says next and what an answer means, without any I/O."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from random import Random

from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify, esp_spi
from engine.wire.errors import WireError
from engine.wire.header import Exchange
from engine.wire.notifies import NotifyType
from engine.wire.payloads import parse_message
from ikeconsole.demo.messages import (
    INFORMATIONAL_BYTES,
    Purpose,
    esp_packet,
    init_request,
    random_spi,
    seal_request,
    unseal,
)


class Heard(Enum):
    """What a datagram means for the tunnel."""

    NOTHING = auto()
    """It is nonsense, or nobody waits for it any more."""
    COOKIE = auto()
    """The request must be repeated, with the cookie."""
    ANSWER = auto()
    """The last request is answered."""
    TRAFFIC = auto()
    """ESP of this tunnel."""
    REFUSAL = auto()
    """The real server has no such tunnel, or wants none."""


class Tunnel:
    """One IKE SA and its ESP SAs, from IKE_SA_INIT to the end."""

    def __init__(self, rng: Random, vendor_ids: Sequence[bytes]) -> None:
        self.spi_i = random_spi(rng, 64)
        self.spi_r = 0
        self._random = rng
        self._vendor_ids = vendor_ids
        self._cookie = b""
        self._message_id = 0
        self._esp_in = random_spi(rng, 32)
        self._esp_out = 0
        self._sequence = 0

    def init_request(self) -> bytes:
        """The first message, for the IKE port: always the same, but for the cookie once one was demanded."""
        return init_request(Random(self.spi_i), self.spi_i, self._vendor_ids, self._cookie)

    def request(self, purpose: Purpose, size_bytes: int = INFORMATIONAL_BYTES) -> bytes:
        """The next encrypted request, for the NAT-T port; repeat the same bytes until it is answered."""
        self._message_id += 1
        return seal_request(
            self._random,
            purpose,
            spi_i=self.spi_i,
            spi_r=self.spi_r,
            message_id=self._message_id,
            esp_spi=self._esp_in if purpose is Purpose.AUTHENTICATE else 0,
            size_bytes=size_bytes,
        )

    def esp(self, content_bytes: int) -> bytes:
        """The next ESP packet, for the NAT-T port."""
        self._sequence += 1
        return esp_packet(self._random, self._esp_out, self._sequence, content_bytes)

    def hear_init(self, datagram: bytes) -> Heard:
        """Take in what came from the IKE port."""
        try:
            message = parse_message(datagram)
        except WireError:
            return Heard.NOTHING
        header = message.header
        if not header.response or header.spi_i != self.spi_i or header.exchange != Exchange.IKE_SA_INIT:
            return Heard.NOTHING
        if cookie := message.notify(NotifyType.COOKIE):
            self._cookie = cookie.data
            return Heard.COOKIE
        if header.spi_r == 0:
            return Heard.REFUSAL
        self.spi_r = header.spi_r
        return Heard.ANSWER

    def hear(self, datagram: bytes) -> Heard:
        """Take in what came from the NAT-T port."""
        try:
            match classify(datagram, len(datagram), nat_t=True):
                case Kind.ESP if esp_spi(datagram) == self._esp_in:
                    return Heard.TRAFFIC
                case Kind.IKE:
                    return self._hear_ike(datagram[len(NON_ESP_MARKER) :])
                case _:
                    return Heard.NOTHING
        except WireError:
            return Heard.NOTHING

    def _hear_ike(self, data: bytes) -> Heard:
        message = parse_message(data)
        header = message.header
        if not header.response or (header.spi_i, header.message_id) != (self.spi_i, self._message_id):
            return Heard.NOTHING
        if not message.encrypted:
            # Unprotected, so a real client checks before it believes; this one has nothing to lose.
            return Heard.REFUSAL if message.notify(NotifyType.INVALID_IKE_SPI) else Heard.NOTHING
        answer = unseal(data)
        if answer.purpose is Purpose.AUTHENTICATE:
            self._esp_out = answer.esp_spi
        return Heard.ANSWER
