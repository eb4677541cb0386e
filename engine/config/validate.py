"""The rules that one key of the configuration puts on another."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from netaddr import IPAddress

from engine.config.addresses import expand_pool, parse_endpoint, spell_endpoint, why_unusable
from engine.config.decode import USABLE_NAME, Undecoded, table_keys
from engine.config.durations import format_duration
from engine.config.problems import Problem
from engine.config.schema import (
    Agent,
    Config,
    EngineSection,
    Health,
    HealthKind,
    Metrics,
    RealServer,
    Service,
    Source,
)

MAX_SERVICES = 256
MAX_REAL_SERVERS = 1024
MAX_SOCKET_PATH_BYTES = 107
"""What fits into sun_path of unix(7) beside its closing zero."""

_Part = TypeVar("_Part", EngineSection, Metrics, Health, Agent, Service)


def validate(config: Config) -> list[Problem]:
    """Every rule across keys that `config` breaks; rules about a value that did not decode are left out."""
    return list(_problems(config))


def _problems(config: Config) -> Iterator[Problem]:
    with suppress(Undecoded):
        yield from _check(config.engine, "engine", [_paths])
        yield from _check(config.engine.metrics, "engine.metrics", [_metrics_listener])
    with suppress(Undecoded):
        services = list(zip(keys_of("service", config.services), config.services, strict=True))
        yield from _names("service", services, MAX_SERVICES)
        for key, service in services:
            yield from _check(service, key, _SERVICE_RULES)
            with suppress(Undecoded):
                yield from _check(service.health, f"{key}.health", [_in_time, _probe_target])
            with suppress(Undecoded):
                yield from _check(service.agent, f"{key}.agent", [_in_time, _agent_path])
        yield from _clashes(services)


def keys_of(key: str, parts: Sequence[Service] | Sequence[RealServer]) -> list[str]:
    """The key of each service, or of each real server of a service, below `key`."""
    return table_keys(key, [getattr(part, "name", None) for part in parts])


def server_ports(service: Service, server: RealServer) -> tuple[int, int]:
    """The IKE and NAT-T ports of a real server, which are its service's unless it names its own."""
    return server.ike_port or service.ike_port, server.nat_t_port or service.nat_t_port


def _check(part: _Part, key: str, rules: Sequence[Callable[[_Part, str], Iterator[Problem]]]) -> Iterator[Problem]:
    for rule in rules:
        with suppress(Undecoded):
            yield from rule(part, key)


def _names(
    array: str, keyed: Sequence[tuple[str, Service]] | Sequence[tuple[str, RealServer]], limit: int
) -> Iterator[Problem]:
    """Names are typed by operators and stand in keys, so they are short, plain and unique."""
    if len(keyed) > limit:
        yield Problem(array, f"stands {len(keyed)} times: at most {limit} are possible")
    first: dict[str, str] = {}
    for key, part in keyed:
        with suppress(Undecoded):
            if not USABLE_NAME.fullmatch(part.name):
                message = f'"{part.name[:80]}" is no usable name: write 1 to 64 letters, digits, ".", "_" or "-"'
                yield Problem(f"{key}.name", message)
            elif part.name in first:
                yield Problem(f"{key}.name", f'"{part.name}" is already the name of {first[part.name]}: change one')
            first.setdefault(part.name, key)


def _paths(engine: EngineSection, key: str) -> Iterator[Problem]:
    for name, path in (("control_socket", engine.control_socket), ("state_dir", engine.state_dir)):
        if path and not os.path.isabs(path):
            yield Problem(f"{key}.{name}", f'"{path}" depends on where the engine is started: write it from "/" on')
    if len(os.fsencode(engine.control_socket)) > MAX_SOCKET_PATH_BYTES:
        message = f"is longer than the {MAX_SOCKET_PATH_BYTES} bytes of a Unix socket's path: choose a shorter one"
        yield Problem(f"{key}.control_socket", message)


def _metrics_listener(metrics: Metrics, key: str) -> Iterator[Problem]:
    if not metrics.listen:
        return
    try:
        address, _ = parse_endpoint(metrics.listen)
    except ValueError as wrong:
        yield Problem(f"{key}.listen", str(wrong))
        return
    if int(address) == 0:
        message = f"{address} stands for every address of the machine, those of services too, which anybody can reach"
        yield Problem(f"{key}.listen", f'{message}: write "127.0.0.1:9466", or one address of an inner network')
    elif why := why_unusable(address):
        yield Problem(f"{key}.listen", f"{address} {why}")


def _usable_address(service: Service, key: str) -> Iterator[Problem]:
    if why := why_unusable(service.address):
        yield Problem(f"{key}.address", f"{service.address} {why}")


def _two_ports(service: Service, key: str) -> Iterator[Problem]:
    if service.ike_port == service.nat_t_port:
        message = f"is {service.nat_t_port} as ike_port is: the two need different ports, as 500 and 4500 are"
        yield Problem(f"{key}.nat_t_port", message)


def _pool_wanted(service: Service, key: str) -> Iterator[Problem]:
    if service.snat_addresses and service.source is not Source.SNAT:
        message = 'has no effect with source = "transparent": remove it, or write source = "snat"'
        yield Problem(f"{key}.snat_addresses", message)


def _pool(service: Service, key: str) -> Iterator[Problem]:
    try:
        pool = expand_pool(service.snat_addresses)
    except ValueError as wrong:
        yield Problem(f"{key}.snat_addresses", str(wrong))
        return
    for address in pool:
        if why := why_unusable(address):
            yield Problem(f"{key}.snat_addresses", f"{address} {why}")
            return
    if strangers := [address for address in pool if address.version != service.address.version]:
        yield Problem(f"{key}.snat_addresses", _other_family(strangers[0], service))


def _servers(service: Service, key: str) -> Iterator[Problem]:
    keyed = _servers_of(key, service)
    yield from _names(f"{key}.real_server", keyed, MAX_REAL_SERVERS)
    taken: dict[tuple[IPAddress, int], str] = {}
    for at, server in keyed:
        with suppress(Undecoded):
            if why := why_unusable(server.address):
                yield Problem(f"{at}.address", f"{server.address} {why}")
            elif server.address.version != service.address.version:
                yield Problem(f"{at}.address", _other_family(server.address, service))
        with suppress(Undecoded):
            ike_port, nat_t_port = ports = server_ports(service, server)
            if ike_port == nat_t_port and (server.ike_port or server.nat_t_port):
                message = f"is {nat_t_port} for IKE and NAT-T alike: the two need different ports"
                yield Problem(f"{at}.nat_t_port", message)
            endpoints = [(server.address, port) for port in ports]
            if twin := next((taken[endpoint] for endpoint in endpoints if endpoint in taken), None):
                message = f"{server.address} is already {twin} with the same port: write each server once"
                yield Problem(f"{at}.address", message)
            taken |= dict.fromkeys(endpoints, at)


_SERVICE_RULES = [_usable_address, _two_ports, _pool_wanted, _pool, _servers]


def _in_time(part: Health | Agent, key: str) -> Iterator[Problem]:
    if part.timeout_s > part.interval_s:
        timeout, interval = format_duration(part.timeout_s), format_duration(part.interval_s)
        message = f"of {timeout} is longer than the interval of {interval}: write at most that"
        yield Problem(f"{key}.timeout", message)


def _probe_target(health: Health, key: str) -> Iterator[Problem]:
    match health.type:
        case HealthKind.TCP if not health.port:
            yield Problem(f"{key}.port", 'is missing: type = "tcp" needs one, for example port = 443')
        case HealthKind.EXEC if not health.command or not health.command[0]:
            message = 'is missing: type = "exec" needs one, for example command = ["/usr/local/bin/probe", "{address}"]'
            yield Problem(f"{key}.command", message)


def _agent_path(agent: Agent, key: str) -> Iterator[Problem]:
    if not re.fullmatch(r"/[!-~]*", agent.path):
        message = f'"{agent.path}" is no path of a URL: write one that begins with "/", for example "/load"'
        yield Problem(f"{key}.path", message)


def _other_family(address: IPAddress, service: Service) -> str:
    return (
        f"{address} is IPv{address.version} and the service's address {service.address} is not: "
        f"write one of IPv{service.address.version}"
    )


def _clashes(services: Sequence[tuple[str, Service]]) -> Iterator[Problem]:
    """One address has one owner: no two services share a port of it, and none is a real server's as well."""
    listeners: dict[tuple[IPAddress, int], str] = {}
    for key, service in services:
        with suppress(Undecoded):
            named = {"ike_port": service.ike_port, "nat_t_port": service.nat_t_port}
            own = {(service.address, port): f"{key}.{name}" for name, port in named.items()}
            for endpoint, at in own.items():
                if owner := listeners.get(endpoint):
                    message = f"{spell_endpoint(*endpoint)} is already {owner}: change address or port of one"
                    yield Problem(at, message)
            listeners = own | listeners
    servers: dict[IPAddress, str] = {}
    for at, service, server in _all_servers(services):
        with suppress(Undecoded):
            servers.setdefault(server.address, at)
            for port in server_ports(service, server):
                if owner := listeners.get((server.address, port)):
                    message = f"{spell_endpoint(server.address, port)} is {owner}, so packets would go in circles"
                    yield Problem(f"{at}.address", f"{message}: write the VPN server's own address")
                    break
    for key, service in services:
        with suppress(Undecoded, ValueError):
            for address in expand_pool(service.snat_addresses):
                if owner := servers.get(address):
                    message = f"{address} is the address of {owner}: leave it out of the pool"
                    yield Problem(f"{key}.snat_addresses", message)


def _all_servers(services: Sequence[tuple[str, Service]]) -> Iterator[tuple[str, Service, RealServer]]:
    for key, service in services:
        with suppress(Undecoded):
            for at, server in _servers_of(key, service):
                yield at, service, server


def _servers_of(key: str, service: Service) -> list[tuple[str, RealServer]]:
    return list(zip(keys_of(f"{key}.real_server", service.real_servers), service.real_servers, strict=True))
