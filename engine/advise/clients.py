"""How a service's clients are shared among its real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.advise.facts import ServiceFacts
from engine.advise.snippets import swanctl, toml
from engine.config.schema import PersistenceKind, SchedulerKind
from engine.control.records import Advice
from engine.wording import count, listed

OFFICE_SESSIONS: Final = 20
OFFICE_PART: Final = 0.25
"""Sessions of one client address, and their part of the service's, from which on they weigh on one server."""
SESSIONS_THAT_TELL: Final = 50
UNEVEN: Final = 0.15
"""How far a server's part of the sessions may be from its part by weight."""
REAUTHENTICATED: Final = 5

_BLIND_TO_LOAD = {
    SchedulerKind.ROUND_ROBIN,
    SchedulerKind.WEIGHTED_ROUND_ROBIN,
    SchedulerKind.SOURCE_HASH,
    SchedulerKind.MAGLEV,
}
"""They do not look at how many sessions a server has."""


def service_clients(service: ServiceFacts) -> Iterator[Advice]:
    """Port following, big offices, uneven shares, and tunnels that begin anew."""
    if len(service.servers) > 1:
        yield from _port_following(service)
        office = list(_office(service))
        yield from office or _uneven(service)
    yield from _reauthentication(service)


def _port_following(service: ServiceFacts) -> Iterator[Advice]:
    if service.config.port_following:
        return
    split = service.violations["ports-split"]
    seen = f"That happened {count(split, 'time')}" if split else "It has not been seen yet"
    yield Advice(
        topic="port-following",
        severity="do",
        service=service.name,
        server="",
        what="Switch port following on.",
        why=f"It is off, with {len(service.servers)} real servers: IKE_AUTH on port 4500 can reach another server than "
        f"the IKE_SA_INIT on port 500, and the tunnel never comes up. {seen}.",
        check="ports-split in `ikeconsole status --json` stays as it is.",
        snippets=[toml(service.name, "port_following = true")],
    )


def _office(service: ServiceFacts) -> Iterator[Advice]:
    office = service.office
    if office is None or service.config.persistence is not PersistenceKind.SOURCE_ADDRESS:
        return
    if office.sessions < OFFICE_SESSIONS or office.sessions < OFFICE_PART * service.sessions:
        return
    yield Advice(
        topic="office",
        severity="consider",
        service=service.name,
        server="",
        what='Schedule each IKE SA by itself: persistence = "ike-spi".',
        why=f"{office.address} alone has {office.sessions} of {count(service.sessions, 'session')}, on "
        f"{listed(office.servers)}: an office behind one address goes where its first client went.",
        check=f"`ikeconsole sessions {office.address}` shows new sessions on several servers.",
        snippets=[toml(service.name, 'persistence = "ike-spi"')],
    )


def _uneven(service: ServiceFacts) -> Iterator[Advice]:
    if service.config.scheduler not in _BLIND_TO_LOAD or service.sessions < SESSIONS_THAT_TELL:
        return
    taking = [server for server in service.servers if server.takes_new]
    if len(taking) < 2:
        return
    worst = max(taking, key=lambda server: abs(server.share - server.weighted_share))
    if abs(worst.share - worst.weighted_share) < UNEVEN:
        return
    yield Advice(
        topic="shares",
        severity="consider",
        service=service.name,
        server="",
        what="Let the scheduler count sessions: weighted-least-connections.",
        why=f"{worst.name} has {100 * worst.share:.0f} % of {count(service.sessions, 'session')}, by weight it should "
        f"have {100 * worst.weighted_share:.0f} %: {service.config.scheduler} does not see how many a server has.",
        check="SHARE in the console comes near its mark as sessions end and begin.",
        snippets=[toml(service.name, 'scheduler = "weighted-least-connections"')],
    )


def _reauthentication(service: ServiceFacts) -> Iterator[Advice]:
    times = sum(server.reauthenticated for server in service.servers)
    if times < REAUTHENTICATED:
        return
    yield Advice(
        topic="reauthentication",
        severity="consider",
        service=service.name,
        server="",
        what="Have strongSwan clients make the new tunnel before they break the old one.",
        why=f"{count(times, 'session')} began on port {service.config.nat_t_port}, on the flow of an earlier tunnel: "
        "strongSwan clients do that to reauthenticate. Before release 6.0 they take the old tunnel down first, and "
        "nothing passes until the new one is up.",
        check="A ping through the tunnel loses nothing at the next reauthentication.",
        snippets=[
            swanctl("in strongswan.conf on the clients", "charon {\n    make_before_break = yes\n}"),
        ],
    )
