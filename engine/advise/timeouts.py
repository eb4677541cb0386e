"""Timeouts here that contradict those of clients and real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.advise.facts import ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import toml
from engine.config.durations import format_duration
from engine.config.schema import Duration, PersistenceKind
from engine.control.records import Advice, Snippet
from engine.wording import count

WINDOWS_OUTAGE_S: Final = 30 * 60
"""Network outage time of Windows, on clients and on RRAS, unless set otherwise."""
KEEPALIVE_S: Final = 20
"""Customary between NAT keepalives: strongswan.conf(5), keep_alive."""
KEEPALIVES_MISSED: Final = 3


def timeouts(service: ServiceFacts) -> Iterator[Advice]:
    """What is forgotten here before clients have given up."""
    if _has_windows(service):
        yield from _outage(service)
    yield from _nat_t_idle(service)


def _has_windows(service: ServiceFacts) -> bool:
    return service.windows_clients or any(server.product is Product.WINDOWS for server in service.servers)


def _outage(service: ServiceFacts) -> Iterator[Advice]:
    config = service.config
    short = []
    if config.persistence is PersistenceKind.SOURCE_ADDRESS and config.persistence_timeout_s < WINDOWS_OUTAGE_S:
        short.append(("persistence_timeout", config.persistence_timeout_s, 'persistence_timeout = "30m"'))
    if config.timeouts.spi_binding_s < WINDOWS_OUTAGE_S:
        short.append(("spi_binding", config.timeouts.spi_binding_s, '[service.timeouts]\nspi_binding = "30m"'))
    if not short:
        return
    said = " and ".join(f"{key} is {format_duration(value_s)}" for key, value_s, _ in short)
    yield Advice(
        topic="outage-time",
        severity="consider",
        service=service.name,
        server="",
        what="Remember clients as long as Windows tries to get a lost tunnel back.",
        why="Windows retries for 30 m after its network went away, unless set otherwise (network outage "
        f"time), but {said} here: whoever comes back later may reach a server that does not have its tunnel.",
        check=f"`ikeconsole advise {service.name}` no longer tells of it.",
        snippets=[
            toml(service.name, "\n".join(line for _, _, line in short)),
            _RRAS_OUTAGE,
        ],
    )


_RRAS_OUTAGE = Snippet(
    language="powershell",
    where="or else on the real servers, as administrator: give up sooner, here after 10 minutes",
    text="netsh ras set ikev2connection idletimeout=5 nwoutagetime=10\nRestart-Service RemoteAccess",
)


def _nat_t_idle(service: ServiceFacts) -> Iterator[Advice]:
    idle_s, returned = service.config.timeouts.nat_t_idle_s, service.violations["idle-too-short"]
    if idle_s >= KEEPALIVES_MISSED * KEEPALIVE_S and not returned:
        return
    idle = format_duration(idle_s)
    why = (
        f"{count(returned, 'client')} came back within a minute after {idle} of silence had ended their flow: they "
        "had not gone, their keepalives are rarer."
        if returned
        else f"It is {idle}. Clients behind NAT send a keepalive each {KEEPALIVE_S} s at best, and some are lost."
    )
    longer = format_duration(Duration(max(300, 2 * idle_s)))
    yield Advice(
        topic="nat-t-idle",
        severity="do",
        service=service.name,
        server="",
        what=f"Let flows on the NAT-T port be silent for longer: nat_t_idle, say {longer}.",
        why=why,
        check="idle-too-short in `ikeconsole status --json` stays as it is.",
        snippets=[toml(service.name, f'[service.timeouts]\nnat_t_idle = "{longer}"')],
    )
