"""What the health probe of a service cannot see, and real servers that demand cookies of it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.advise.facts import ServerFacts, ServiceFacts
from engine.advise.products import Product
from engine.advise.snippets import swanctl, toml
from engine.config.schema import HealthKind, IkeProbe
from engine.control.records import Advice
from engine.wire.notifies import NotifyType
from engine.wording import count, listed

_BLIND = {
    HealthKind.ICMP: "Ping is answered by a server whose IKE service has died",
    HealthKind.TCP: "A TCP port is answered by a server whose IKE service has died",
    HealthKind.NONE: "Nothing finds out that a server has died",
}
_BY_VERSION = NotifyType.INVALID_MAJOR_VERSION.name


def probes(service: ServiceFacts) -> Iterator[Advice]:
    """A kind of probe that sees more."""
    health = service.config.health
    if blind := _BLIND.get(health.type):
        names = listed([server.name for server in service.servers])
        yield Advice(
            topic="probe",
            severity="consider",
            service=service.name,
            server="",
            what="Probe the IKE service itself.",
            why=f'{blind}, so its clients are still sent there: type is "{health.type}" for {names}.',
            check=f"`ikeconsole probe {service.name}/{service.servers[0].name}` says: answers IKE.",
            snippets=[toml(service.name, '[service.health]\ntype = "ike"')],
        )
    elif by_version := [server.name for server in service.servers if _asked_by_version(service, server)]:
        yield Advice(
            topic="probe",
            severity="consider",
            service=service.name,
            server="",
            what='Let probes begin an IKE_SA_INIT: ike_probe = "init".',
            why=f"{listed(by_version)} answer{'s' if len(by_version) == 1 else ''} {_BY_VERSION}: strongSwan does so "
            "before its workers see a probe. Only an IKE_SA_INIT finds workers that hang, and learns that it demands "
            "cookies.",
            check=f"`ikeconsole probe {service.name}/{by_version[0]}` says: answers IKE: NO_PROPOSAL_CHOSEN.",
            snippets=[toml(service.name, '[service.health]\nike_probe = "init"')],
        )


def busy(service: ServiceFacts, server: ServerFacts) -> Iterator[Advice]:
    """A real server that demands cookies: one more round trip for every client, and probes that wait."""
    if not server.busy or server.health != "up":
        return
    snippets = []
    if server.product in (Product.STRONGSWAN, Product.UNKNOWN):
        snippets.append(swanctl(f"in strongswan.conf on {server.name}", _COOKIES))
    yield Advice(
        topic="cookies",
        severity="consider",
        service=service.name,
        server=server.name,
        what=f"Find out why {server.name} has so many half-open IKE SAs; if they are genuine, let it have more.",
        why=f"It demands cookies of this balancer's probes; {count(server.half_open, 'session')} of its own "
        f"{'is' if server.half_open == 1 else 'are'} half-open here.",
        check=f"`ikeconsole sessions server:{server.name} phase:cookie` shows who waits; "
        f"`ikeconsole servers` no longer says that it demands cookies.",
        snippets=snippets,
    )


_COOKIES = """\
charon {
    # half-open IKE SAs from which on it demands cookies:
    cookie_threshold = 300     # of all addresses; the default is 30
    cookie_threshold_ip = 30   # of one address; the default is 3
}
# then: systemctl restart strongswan (its tunnels end)"""


def _asked_by_version(service: ServiceFacts, server: ServerFacts) -> bool:
    health = service.config.health
    return (
        health.type is HealthKind.IKE
        and health.ike_probe is not IkeProbe.INIT
        and server.product is Product.STRONGSWAN
        and _BY_VERSION in server.probe_reason
    )
