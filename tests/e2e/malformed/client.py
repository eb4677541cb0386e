"""Honest clients: each sets up one IKE SA, then sends ESP and counts what comes back."""

from __future__ import annotations

import socket
import time
from random import Random

from engine.wire.encapsulation import NON_ESP_MARKER
from engine.wire.header import Exchange, parse_header
from malformed import tunnel

ANSWER_TIMEOUT_S = 2.0
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
        self._nat_t = nat_t
        with _socket(address) as sock:
            sock.sendto(tunnel.init_request(rng, self._spi_i), ike)
            assert parse_header(sock.recv(65_535)).spi_r == tunnel.responder_spi(self._spi_i)
        self._socket = _socket(address)
        self.ask(Exchange.IKE_AUTH)
        self.ask(Exchange.INFORMATIONAL)

    def ask(self, exchange: Exchange) -> None:
        """Make an encrypted exchange; TimeoutError when there is no answer."""
        request = tunnel.sealed(self._spi_i, exchange, self._message_id, 300)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._socket.sendto(request, self._nat_t)
        answer = b""
        while not answer.startswith(NON_ESP_MARKER):
            answer = self._socket.recv(65_535)
        message = answer[len(NON_ESP_MARKER) :]
        assert tunnel.is_sealed(parse_header(message), message), "the answer is not from a server with this IKE SA"
        self._message_id += 1
        self._socket.setblocking(False)

    def talk(self) -> None:
        """Send an ESP packet."""
        self.sent += 1
        self._socket.sendto(tunnel.esp(self._esp_spi, self.sent, self._content), self._nat_t)

    def listen(self) -> None:
        """Count the ESP packets that have come back."""
        while True:
            try:
                packet = self._socket.recv(65_535)
            except BlockingIOError:
                return
            assert tunnel.is_esp(packet), f"not what was sent: {packet[:40].hex()}"
            self.echoed += 1

    def hears_itself(self) -> bool:
        """Send an ESP packet; whether it comes back."""
        before = self.echoed
        self.talk()
        until = time.monotonic() + ANSWER_TIMEOUT_S
        while self.echoed == before and time.monotonic() < until:
            time.sleep(0.0005)
            self.listen()
        return self.echoed == before + 1

    def close(self) -> None:
        """Fall silent."""
        self._socket.close()


def _socket(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(ANSWER_TIMEOUT_S)
    sock.bind((address, 0))
    return sock
