"""snat services: what real servers and this balancer must be set to where many clients share a source address."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final

from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import fitting, powershell, swanctl, toml
from engine.config.schema import Source
from engine.control.records import Advice
from engine.telemetry.conditions import CROWDED
from engine.wording import count, grouped

WINDOWS_EXPECTS: Final = 10
"""IKE SAs of one address, without IkeNumEstablishedForInitialQuery (R. Hicks, Set-IKEv2LoadBalancingParameters.ps1)."""
STRONGSWAN_EXPECTS: Final = 5
"""Half-open IKE SAs of one address (strongswan.conf(5), block_threshold): as many clients may well come together."""
STRONGSWAN_LEAST: Final = 100
"""Thresholds below this are hardly worth the change."""

_LIMITS = {
    Product.WINDOWS: f"Windows expects {WINDOWS_EXPECTS} IKE SAs from one address unless told otherwise",
    Product.STRONGSWAN: f"strongSwan refuses more than {STRONGSWAN_EXPECTS} half-open ones of one address",
    Product.UNKNOWN: f"Windows expects {WINDOWS_EXPECTS} IKE SAs from one address, "
    f"and strongSwan refuses more than {STRONGSWAN_EXPECTS} half-open ones",
}
_EXPECTED = {
    Product.WINDOWS: WINDOWS_EXPECTS,
    Product.STRONGSWAN: STRONGSWAN_EXPECTS,
    Product.UNKNOWN: STRONGSWAN_EXPECTS,
}

_WINDOWS = """\
# The restart ends tunnels: better when this server is drained.
$setting = @{
    Path = "HKLM:\\SYSTEM\\CurrentControlSet\\Services\\IKEEXT\\Parameters"
    Name = "IkeNumEstablishedForInitialQuery"
    PropertyType = "DWORD"
    Value = 50000
}
New-ItemProperty @setting -Force
Restart-Service IKEEXT"""


def source_limits(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """How many clients of one address a real server must expect."""
    if service.config.source is not Source.SNAT or not server.source_use or server.product is Product.OTHER:
        return
    address, sessions = _busiest(server)
    name, limits = server.name, _LIMITS[server.product]
    come = f"{count(sessions, 'session')} of {name} {'comes' if sessions == 1 else 'come'} from {address}"
    if sessions <= _EXPECTED[server.product]:
        yield Advice(
            topic="source-limit",
            severity="well",
            service=service.name,
            server=name,
            what=f"No source address is near a limit of {name}.",
            why=f"At most {come}; {limits}.",
        )
        return
    yield Advice(
        topic="source-limit",
        severity="do" if sessions >= CROWDED else "consider",
        service=service.name,
        server=name,
        what=f"Have {name} accept many clients from one address.",
        why=f"{come}, but {limits}: new clients then get no answer (error 809), while tunnels that are up go on.",
        check=_check(server),
        snippets=fitting(
            server.product,
            lambda: powershell(name, _WINDOWS),
            lambda: swanctl(f"in strongswan.conf on {name}", _strongswan(sessions)),
        ),
    )


def snat_pool(service: ServiceFacts) -> Iterator[Advice]:
    """Showing the clients' own addresses, or sharing clients among more source addresses."""
    crowded = [server for server in service.servers if server.source_use and _busiest(server)[1] >= CROWDED]
    if service.config.source is not Source.SNAT or not crowded:
        return
    server = max(crowded, key=lambda server: _busiest(server)[1])
    sessions, addresses = sum(server.source_use.values()), len(server.source_use)
    shared = "one source address" if addresses == 1 else f"{grouped(addresses)} source addresses"
    wanted = ceil(sessions / WINDOWS_EXPECTS)
    yield Advice(
        topic="snat-pool",
        severity="consider",
        service=service.name,
        server="",
        what="Show the real servers their clients' own addresses, or use more snat_addresses.",
        why=f"{count(sessions, 'session')} of {server.name} share {shared}; {grouped(wanted)} would leave each no more "
        f"than the {WINDOWS_EXPECTS} that Windows expects.",
        check=f"`ikeconsole servers --json` lists the sessions of each source address as source_use; "
        f"`ikeconsole advise {service.name}` says when they are few enough.",
        snippets=[toml(service.name, _TRANSPARENT.format(wanted=grouped(wanted)))],
    )


_TRANSPARENT = """\
source = "transparent"
# The default gateway of real servers must then be this machine. Where
# that cannot be, {wanted} addresses that are routed here, such as:
# snat_addresses = ["192.0.2.20-192.0.2.29"]"""


def _busiest(server: ServerFacts) -> tuple[str, int]:
    return max(server.source_use.items(), key=lambda use: use[1])


def _strongswan(sessions: int) -> str:
    # All clients of an address may come back at one time.
    threshold = max(STRONGSWAN_LEAST, ceil(2 * sessions / 100) * 100)
    return f"""\
charon {{
    # half-open IKE SAs of one address: cookies and refusal from here on
    cookie_threshold_ip = {threshold}
    block_threshold = {threshold}
    # of all addresses: cookies from here on
    cookie_threshold = {2 * threshold}
}}
# then: systemctl restart strongswan (its tunnels end)"""


def _check(server: ServerFacts) -> str:
    windows = "`Get-ItemProperty HKLM:\\SYSTEM\\CurrentControlSet\\Services\\IKEEXT\\Parameters` there shows the value"
    linux = "strongSwan there no longer logs: ignoring IKE_SA setup from ..., per-IP half-open IKE_SA limit"
    match server.product:
        case Product.WINDOWS:
            return f"{windows}."
        case Product.STRONGSWAN:
            return f"{linux}."
        case _:
            return f"{windows}; or {linux}."
