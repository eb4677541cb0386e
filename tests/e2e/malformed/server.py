"""Real servers as a program, `server.py IKE_PORT NAT_T_PORT ADDRESS...`: they answer honest peers and refuse others."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Sequence

from engine.wire.encapsulation import NON_ESP_MARKER, Kind, classify
from engine.wire.errors import WireError
from engine.wire.header import Exchange, parse_header
from malformed import tunnel

RECEIVED_AT_ONCE = 64
AUTH_RESPONSE_BYTES = 900


def answer(datagram: bytes, nat_t: bool) -> bytes | None:
    """What a real server says to a datagram on one of its ports."""
    try:
        kind = classify(datagram, len(datagram), nat_t)
        if kind is not Kind.IKE:
            return datagram if kind is Kind.ESP and tunnel.is_esp(datagram) else None
        marker = NON_ESP_MARKER if nat_t else b""
        message = datagram[len(marker) :]
        header = parse_header(message)
    except WireError:
        return None
    if header.response:
        return None
    if header.exchange == Exchange.IKE_SA_INIT:
        return marker + tunnel.init_response(header)
    if not nat_t:
        return None
    if not tunnel.is_sealed(header, message):
        return tunnel.no_such_sa(header)
    size_bytes = AUTH_RESPONSE_BYTES if header.exchange == Exchange.IKE_AUTH else 0
    return tunnel.sealed(header.spi_i, Exchange(header.exchange), header.message_id, size_bytes, response=True)


def serve(ike_port: int, nat_t_port: int, addresses: Sequence[str]) -> None:
    """Answer on both ports of every address until killed; says so on standard output once all are bound."""
    selector = selectors.DefaultSelector()
    for address in addresses:
        for port in (ike_port, nat_t_port):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((address, port))
            selector.register(sock, selectors.EVENT_READ, port == nat_t_port)
    print("bound", flush=True)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            _drain(key.fileobj, nat_t=key.data)


def _drain(sock: socket.socket, *, nat_t: bool) -> None:
    for _ in range(RECEIVED_AT_ONCE):
        try:
            datagram, balancer = sock.recvfrom(65_535)
        except BlockingIOError:
            return
        if (said := answer(datagram, nat_t)) is not None:
            sock.sendto(said, balancer)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
