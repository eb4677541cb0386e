"""What a probe is aimed at and what it found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One real server as a probe reaches it."""

    name: str
    address: str
    port: int
    """UDP or TCP port asked; without meaning for icmp and exec."""
    source: str | None
    """Local address to ask from; None: the route's own."""
    nat_t: bool = False
    """The port speaks IKE behind a non-ESP marker (RFC 7296 section 2.23), as 4500 does."""
    transparent: bool = False
    """The source is the address of a client, not this machine's."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of one probe, worded for the operator."""

    ok: bool
    reason: str
    rtt_s: float | None
    busy: bool = False
    """The server answers IKE but demands cookies."""
    inconclusive: bool = False
    """The balancer had not the means to ask (files, memory): no evidence for or against the server."""
