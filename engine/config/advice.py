"""What is legal in a configuration and still likely not meant."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config.addresses import parse_endpoint
from engine.config.contradictions import contradictions
from engine.config.problems import Problem
from engine.config.schema import (
    AdminState,
    Config,
    CookieChallenge,
    HealthKind,
    Metrics,
    SchedulerKind,
    Service,
    Source,
)
from engine.config.validate import keys_of


def advice(config: Config) -> list[Problem]:
    """What an operator should look at again; nothing in it keeps a valid `config` from being used."""
    return [*_metrics(config.engine.metrics), *_services(config)]


def _services(config: Config) -> list[Problem]:
    if not config.services:
        return [Problem("service", "there is none, so nothing is balanced: add a [[service]]")]
    keyed = zip(keys_of("service", config.services), config.services, strict=True)
    return [
        Problem(f"{key}.{name}", message)
        for key, service in keyed
        for part in (_timing, _steering, _capacity, _newcomers, _probing)
        for name, message in part(service)
    ]


def _metrics(metrics: Metrics) -> Iterator[Problem]:
    if metrics.listen and not parse_endpoint(metrics.listen)[0].is_loopback():
        message = (
            f'"{metrics.listen}" tells everybody who reaches it the names, addresses and load of the servers, without '
            "a password: let only the Prometheus server through the firewall, or listen on 127.0.0.1"
        )
        yield Problem("engine.metrics.listen", message)


def _timing(service: Service) -> Iterator[tuple[str, str]]:
    for found in contradictions(service):
        yield found.key, f"{found.text}: {found.remedy}"


def _steering(service: Service) -> Iterator[tuple[str, str]]:
    if not service.port_following:
        yield (
            "port_following",
            "is off, so a client's two ports can reach different servers and no tunnel comes up: "
            "leave it on unless the servers share their security associations",
        )
    if service.source is Source.SNAT:
        count = f"{len(service.snat_addresses)} entries" if service.snat_addresses else "one address"
        yield (
            "source",
            f'"snat" shows every client to the servers as the balancer ({count} in the pool), and servers limit '
            "the security associations of one address (Windows: IkeNumEstablishedForInitialQuery): use "
            '"transparent", or raise that limit',
        )


def _capacity(service: Service) -> Iterator[tuple[str, str]]:
    if not service.real_servers:
        yield "real_server", "there is none, so every client is refused: add a [[service.real_server]]"
    elif not any(server.state is AdminState.ENABLED and server.weight for server in service.real_servers):
        yield (
            "real_server",
            "none takes new sessions: each is in drain, disabled or of weight 0; enable one",
        )
    weights = [server.weight for server in service.real_servers]
    if service.scheduler is SchedulerKind.FIXED and weights.count(max(weights, default=0)) > 1:
        yield (
            "scheduler",
            '"fixed" sends all to the highest weight, and several servers have it, so the first of them takes '
            "all: give each another weight",
        )


def _newcomers(service: Service) -> Iterator[tuple[str, str]]:
    threshold = service.cookie_threshold
    limits = ("half_open_per_source", "clients of an address"), ("half_open_limit", "all new clients")
    for key, who in limits:
        most: int = getattr(service, key)
        if not most or service.cookie_challenge is CookieChallenge.ALWAYS:
            continue
        if service.cookie_challenge is CookieChallenge.OFF:
            yield (
                key,
                f"of {most} can be used up with forged messages, so that {who} are locked out, as long as "
                f'cookie_challenge is "off": write "auto" there, or {key} = 0',
            )
        elif most <= threshold:
            yield (
                key,
                f"of {most} can be used up with forged messages before {threshold} half-open sessions make "
                "the service ask for cookies: write more than cookie_threshold",
            )


def _probing(service: Service) -> Iterator[tuple[str, str]]:
    health = service.health
    if health.type is HealthKind.NONE and len(service.real_servers) > 1:
        yield "health.type", '"none" sends clients to dead servers as well: use "ike" unless probes are unwanted'
    if health.command and health.type is not HealthKind.EXEC:
        yield "health.command", f'has no effect with type = "{health.type}": remove it, or write type = "exec"'
