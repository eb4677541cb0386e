"""Honest clients: each sets up one IKE SA, then sends ESP and counts what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from random import Random

from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import Exchange, parse_header
from malformed import tunnel
from malformed.garbage import Datagram

ANSWER_TIMEOUT_S = 2.0
AUTH_REQUEST_BYTES = 300
ESP_BYTES = 100


class Client:
    """One client with an established tunnel."""

    def __init__(self, address: str, ike: tuple[str, int], nat_t: tuple[str, int], rng: Random) -> None:
        self.address = address
        self.sent = 0
        self.echoed = 0
        self._spi_i = rng.randrange(1, 1 << 64)
        self._esp_spi = rng.randrange(1, 1 << 32)
        self._content = rng.randbytes(ESP_BYTES)
        self._message_id = 1
        self._ike = ike
        self._nat_t = nat_t
        with _socket(address) as sock:
            sock.sendto(tunnel.init_request(rng, self._spi_i), ike)
            assert parse_header(sock.recv(65_535)).spi_r == tunnel.responder_spi(self._spi_i)
        self._socket = _socket(address)
        self._ask(Exchange.IKE_AUTH, AUTH_REQUEST_BYTES)
        self.check_liveness()

    def check_liveness(self) -> None:
        """Ask the server whether it still has the IKE SA; TimeoutError when there is no answer."""
        self._ask(Exchange.INFORMATIONAL, 0)

    def _ask(self, exchange: Exchange, size_bytes: int) -> None:
        """Make an encrypted exchange; TimeoutError when there is no answer."""
        request = tunnel.sealed(self._spi_i, exchange, self._message_id, size_bytes)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._socket.sendto(request, self._nat_t)
        while not self._answers(self._socket.recv(65_535)):
            pass
        self._message_id += 1
        self._socket.setblocking(False)

    def talk(self) -> None:
        """Send an ESP packet."""
        self.sent += 1
        self._socket.sendto(tunnel.esp(self._esp_spi, self.sent, self._content), self._nat_t)

    def listen(self) -> None:
        """Count the ESP packets that have come back, among answers to what was forged."""
        while True:
            try:
                packet = self._socket.recv(65_535)
            except BlockingIOError:
                return
            self.echoed += tunnel.is_esp(packet)

    def hears_itself(self) -> bool:
        """Send an ESP packet; whether it comes back."""
        before = self.echoed
        self.talk()
        until = time.monotonic() + ANSWER_TIMEOUT_S
        while self.echoed == before and time.monotonic() < until:
            time.sleep(0.0005)
            self.listen()
        return self.echoed == before + 1

    def disturb(self, garbage: Iterable[Datagram]) -> None:
        """Send garbage as somebody would who forges this client's address and port."""
        for nat_t, payload in garbage:
            self._socket.sendto(payload, self._nat_t if nat_t else self._ike)

    def _answers(self, datagram: bytes) -> bool:
        message = datagram.removeprefix(NON_ESP_MARKER)
        if message == datagram:
            return False
        header = parse_header(message)
        return header.message_id == self._message_id and header.response and tunnel.is_sealed(header, message)

    def close(self) -> None:
        """Fall silent."""
        self._socket.close()


def _socket(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(ANSWER_TIMEOUT_S)
    sock.bind((address, 0))
    return sock
