"""The SPIs of a tunnel's ESP: all that is to be seen of a client that goes on from elsewhere with data first.

They are agreed in encrypted messages, so they are learned from what passes. Only flows on which the real server has
answered count: else anybody could have an SPI lead to a session of his own.
"""

from __future__ import annotations

from sys import byteorder
from typing import Final

from engine.sessions.flow import Flow
from engine.sessions.session import Session

SPIS_KEPT: Final = 4
"""For each direction: rekeying has two in use for a moment, and two tunnels may share a flow."""

TALKING_S: Final = 5.0
"""A tunnel in use is answered within this time."""


def spi_of(word: int) -> int:
    """The SPI that the first word of a datagram is, as the machine reads it."""
    return int.from_bytes(word.to_bytes(4, byteorder))


def learn_inward(flow: Flow, word: int, now_s: float) -> None:
    """Take note of the first word of ESP from the client that was not seen on a flow before.

    One that is known at another real server is more likely a client's that a NAT gave this flow's address and port
    than the same number chosen twice, unless this flow's real server talks, and not to an earlier client elsewhere.
    """
    session = flow.owner
    if not flow.proven or session is None:
        return
    spi = spi_of(word)
    known = flow.service.tunnel_of(spi)
    elsewhere = known is not None and known.server is not flow.server
    if elsewhere and (flow.is_left or now_s - flow.last_out_s > TALKING_S):
        return
    flow.esp_in = (word, *flow.esp_in)[:SPIS_KEPT]
    _claim(session, spi)


def learn_outward(flow: Flow, word: int) -> None:
    """Take note of the first word of ESP from the real server that was not seen on a flow before."""
    session = flow.owner
    if session is None:
        return
    flow.esp_out = (word, *flow.esp_out)[:SPIS_KEPT]
    spi = spi_of(word)
    if spi not in session.esp_out:
        session.esp_out = (spi, *session.esp_out)[:SPIS_KEPT]


def inherit(session: Session, stand_in: Session) -> None:
    """Have a session known by the SPIs of a nameless one that it turned out to be."""
    for spi in reversed(stand_in.esp_in):
        _claim(session, spi)
    session.esp_out = (*stand_in.esp_out, *session.esp_out)[:SPIS_KEPT]


def _claim(session: Session, spi: int) -> None:
    if spi in session.esp_in:
        return
    by_esp = session.service.by_esp
    for forgotten in session.esp_in[SPIS_KEPT - 1 :]:
        by_esp.release(forgotten, session)
    session.esp_in = (spi, *session.esp_in)[:SPIS_KEPT]
    by_esp.claim(spi, session)
