"""Time spans of a service that defeat each other's purpose, or what its peers are known to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.config.durations import format_duration
from engine.config.schema import Duration, HealthKind, PersistenceKind, Service

KEEPALIVE_S: Final = 20
"""What is customary for NAT keepalives (RFC 3948 section 4)."""
FIRST_REPETITION_S: Final = 4
CLIENT_GIVES_UP_S: Final = 165
"""Both with strongSwan's defaults."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A key, what follows on its value in a sentence, and what to do."""

    key: str
    text: str
    remedy: str


def contradictions(service: Service) -> Iterator[Contradiction]:
    """Those that an operator should resolve, the gravest first."""
    timeouts, health = service.timeouts, service.health
    idle = format_duration(timeouts.nat_t_idle_s)
    by_address = service.persistence is PersistenceKind.SOURCE_ADDRESS
    if by_address and service.persistence_timeout_s < timeouts.nat_t_idle_s:
        yield Contradiction(
            "persistence_timeout",
            f"{format_duration(service.persistence_timeout_s)} is shorter than timeouts.nat_t_idle of {idle}, "
            "so a client can change servers before its flow is forgotten",
            f"write at least {idle}",
        )
    if timeouts.nat_t_idle_s < 2 * KEEPALIVE_S:
        yield Contradiction(
            "timeouts.nat_t_idle",
            f"{idle} is shorter than two NAT keepalives (every {KEEPALIVE_S} s), "
            "so one that is lost makes the balancer forget a live tunnel's flow",
            "write at least 1m",
        )
    if timeouts.spi_binding_s < timeouts.nat_t_idle_s:
        yield Contradiction(
            "timeouts.spi_binding",
            f"{format_duration(timeouts.spi_binding_s)} is shorter than timeouts.nat_t_idle of {idle}, "
            "so a tunnel whose flow was forgotten is not known by its SPI either when it comes back",
            f"write at least {idle}",
        )
    if timeouts.ike_idle_s < timeouts.half_open_s:
        half_open = format_duration(timeouts.half_open_s)
        yield Contradiction(
            "timeouts.ike_idle",
            f"{format_duration(timeouts.ike_idle_s)} is shorter than timeouts.half_open of {half_open}, "
            "so flows to the IKE port are forgotten while their clients wait for an answer",
            f"write at least {half_open}",
        )
    if timeouts.half_open_s <= FIRST_REPETITION_S:
        yield Contradiction(
            "timeouts.half_open",
            f"{format_duration(timeouts.half_open_s)} is over before a client asks again (strongSwan: after "
            f"{FIRST_REPETITION_S} s), so its second message may go to another server",
            "write at least 10s",
        )
    noticed_s = Duration(health.fall * health.interval_s + health.timeout_s)
    if health.type is not HealthKind.NONE and noticed_s > CLIENT_GIVES_UP_S:
        yield Contradiction(
            "health.fall",
            f"{health.fall} probes, one every {format_duration(health.interval_s)}, notice a dead server after "
            f"{format_duration(noticed_s)}, when its clients have given up (strongSwan: after {CLIENT_GIVES_UP_S} s)",
            "write a smaller fall or interval",
        )
