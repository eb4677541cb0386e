"""What the control socket publishes of a capture."""

from __future__ import annotations

from msgspec import field

from engine.control.record import Record


class CapturedMessage(Record, frozen=True):
    """One UDP datagram that is, or claims to be, an IKE message; `in` is from the client to the real server."""

    number: int
    """Counts every message of the capture from 1 on, those that were lost as well: a gap says how many those are."""
    at: float
    """Unix time in seconds."""
    direction: str
    """in or out."""
    port: str
    """ike or nat-t."""
    service: str
    client: str
    """address:port, [address]:port for IPv6; so are the three addresses that follow."""
    vip: str
    """The service's address, which the client talks to."""
    data: bytes
    """The UDP payload, on the NAT-T port with the non-ESP marker."""
    server: str = ""
    """The real server's name; this and what follows is empty for what found no real server."""
    server_address: str = ""
    source: str = ""
    """What the real server sees the client as."""
    dropped: str = ""
    """Why it was not forwarded: the reason under which the service counts it; empty: it was."""


class Captured(Record, frozen=True):
    """What a capture has caught since it was last told."""

    messages: list[CapturedMessage] = field(default_factory=list)
    seen: int = 0
    """Of all messages that were to be captured, the number of the newest: it may still wait, or be lost."""
    ended: str = ""
    """Why nothing more will come; empty: the capture goes on."""
