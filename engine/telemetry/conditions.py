"""What can be wrong with services and real servers, in words for whoever has to put it right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from engine.config.contradictions import contradictions
from engine.config.schema import AdminState, HealthKind
from engine.policy.eligibility import Ineligible
from engine.sessions.flow import Port
from engine.sessions.invariants import StrangeReply
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.sessions.steering import ineligible, where_clients_go
from engine.telemetry.alarms import Finding
from engine.telemetry.floods import flood_finding
from engine.telemetry.silence import Silence
from engine.wording import count, grouped, listed

FLAPS: Final = 3
CROWDED: Final = 30
"""Sessions of a real server on one source address: servers take a few dozen from one, then clients see error 809.

Windows limits the SAs set up from one address; strongSwan demands cookies from the fourth half-open one on and refuses
the sixth, which so many clients are likely to reach when they come back together.
"""
NOT_CROWDED: Final = 25
ROOM: Final = 0.02
"""Part of all places that must be free before full servers count as free again."""
DROPS_WORTH_TELLING: Final = 100

Stands = Callable[[str, str, str], bool]
"""Whether an alarm stands already, by kind, service and real server."""


def service_findings(
    service: Service, silence: Silence, buffer_drops: int, stands: Stands, now_s: float
) -> Iterator[Finding]:
    """What is wrong with a service and its real servers; `buffer_drops`: datagrams lost lately for want of time."""
    yield from _no_place(service, stands)
    yield from flood_finding(service)
    if buffer_drops >= DROPS_WORTH_TELLING or (buffer_drops and stands("receive-buffer-full", service.name, "")):
        yield Finding(
            "receive-buffer-full",
            f"{service.name}: the engine does not keep up, {grouped(buffer_drops)} datagrams of clients were lost: "
            "tunnels are slow",
            "take other work off this machine or share the clients among several; "
            "where the engine is not root, raise net.core.rmem_max",
            service.name,
        )
    for found in islice(contradictions(service.config), 1):
        yield Finding(
            "timeouts-contradict",
            f"{service.name}: {found.key} of {found.text}",
            f"{found.remedy} for {found.key}; `ikeconsole check` names all such",
            service.name,
        )
    for server in service.servers.values():
        yield from _server_findings(service, server, silence.unanswered(server), stands, now_s)


def _server_findings(
    service: Service, server: RealServer, unanswered: int, stands: Stands, now_s: float
) -> Iterator[Finding]:
    if server.config.state is AdminState.DISABLED:
        return
    health, name = server.health, f"{service.name}/{server.name}"
    if health.health == "down":
        yield Finding(
            "server-down",
            f"{name} is down: {health.reason}; {where_clients_go(service, server)}",
            _repair(service, server),
            service.name,
            server.name,
            health.since_s,
        )
    elif unanswered:
        yield Finding(
            "no-replies",
            f"{name} answers nobody: {count(unanswered, 'client')} {'has' if unanswered == 1 else 'have'} asked again "
            "and again and got no reply",
            _why_no_replies(service, server),
            service.name,
            server.name,
        )
    flaps = health.flaps(now_s)
    if flaps >= FLAPS or (flaps and stands("server-flapping", service.name, server.name)):
        yield Finding(
            "server-flapping",
            f"{name} went up and down {flaps} times in 5 minutes: each time the tunnels of its clients stand still",
            f"`ikeconsole drain {name}` keeps new clients away while you look at the server and the way to it; "
            "if only probes fail, raise fall or timeout in [service.health]",
            service.name,
            server.name,
        )
    yield from _crowded(service, server, stands)


def _no_place(service: Service, stands: Stands) -> Iterator[Finding]:
    servers = list(service.servers.values())
    reasons = {server.name: ineligible(service, server) for server in servers}
    hurt = "new clients get no answer"
    told = listed([f"{name} {reason}" for name, reason in reasons.items()])
    full = [server for server in servers if reasons[server.name] is Ineligible.FULL]
    if None not in reasons.values() and not full:
        yield Finding(
            "no-server",
            f"{service.name}: no real server takes new sessions ({told or 'it has none'}): {hurt}",
            _give_servers(service, reasons),
            service.name,
        )
    elif (full and None not in reasons.values()) or (
        stands("servers-full", service.name, "") and _little_room(servers, reasons)
    ):
        yield Finding(
            "servers-full",
            f"{service.name}: its real servers have as many sessions as they may: {hurt}",
            "raise max_sessions of a real server, or add one",
            service.name,
        )


def _little_room(servers: list[RealServer], reasons: dict[str, Ineligible | None]) -> bool:
    open_to_all = [server for server in servers if reasons[server.name] in (None, Ineligible.FULL)]
    if not all(server.config.max_sessions for server in open_to_all):
        return False
    places = sum(server.config.max_sessions for server in open_to_all)
    taken = sum(server.established + server.half_open for server in open_to_all)
    return places - taken < max(2, places * ROOM)


def _give_servers(service: Service, reasons: dict[str, Ineligible | None]) -> str:
    for name, reason in reasons.items():
        match reason:
            case Ineligible.DISABLED | Ineligible.DRAIN:
                return f"`ikeconsole enable {service.name}/{name}`"
            case Ineligible.NO_WEIGHT:
                return f"`ikeconsole weight {service.name}/{name} 100`"
            case Ineligible.AGENT_DOWN | Ineligible.AGENT_DISABLED:
                return f"look at the load agent of {name}: it keeps new sessions away"
    if not reasons:
        return f"add a [[service.real_server]] to {service.name}"
    return "get one of them to work again: each says what its probes find"


def _repair(service: Service, server: RealServer) -> str:
    match service.config.health.type:
        case HealthKind.IKE:
            port = service.config.health.port or server.ports[Port.IKE]
            look = f"see that its IKE service runs and that UDP {port} from this machine reaches {server.address}"
        case HealthKind.ICMP:
            look = f"see that {server.address} runs and answers ping"
        case HealthKind.TCP:
            look = f"see that TCP {service.config.health.port} of {server.address} answers"
        case _:
            look = f"see what the health check says of {server.address}"
    return f"{look}; `ikeconsole disable {service.name}/{server.name}` if it is to stay away"


def _why_no_replies(service: Service, server: RealServer) -> str:
    """The likely cause, and what to do: probes come from the balancer's own address, clients' messages may not."""
    name, sources = server.name, listed(list(server.source_use)) or "this machine"
    answers_ike = service.config.health.type is HealthKind.IKE and server.health.health == "up"
    match service.violations.latest.get(StrangeReply.kind):
        case StrangeReply(server=named, source=source) if named == name:
            return f"it does answer, but from {source}: have it answer from {server.address}, where it is asked"
    if not service.is_snat and answers_ike:
        return (
            f"the default gateway of {name} is not this balancer: probes are answered, but what it answers to "
            "clients' addresses goes another way; make this balancer its default gateway"
        )
    ports = " and ".join(str(port) for port in dict.fromkeys(server.ports))
    if not service.is_snat:
        return (
            f"see that the default gateway of {name} is this balancer, that its firewall lets UDP {ports} in "
            "from everywhere, and that its IKE service runs"
        )
    if answers_ike:
        return (
            f"it does answer probes, so it refuses the clients: it may take no more IKE SAs from {sources} (Windows "
            "IkeNumEstablishedForInitialQuery, strongSwan block_threshold), or its firewall is in the way"
        )
    return (
        f"see that the firewall of {name} lets UDP {ports} from {sources} in and the answers out, "
        "and that its IKE service runs"
    )


def _crowded(service: Service, server: RealServer, stands: Stands) -> Iterator[Finding]:
    if not server.source_use:
        return
    address, sessions = server.source_use.most_common(1)[0]
    least = NOT_CROWDED if stands("snat-crowded", service.name, server.name) else CROWDED
    if sessions >= least:
        yield Finding(
            "snat-crowded",
            f"{service.name}/{server.name}: {grouped(sessions)} sessions come from the one address {address}: "
            "the server may refuse further clients (error 809)",
            'add snat_addresses, or use source = "transparent"; else raise the limit on the server: '
            "Windows IkeNumEstablishedForInitialQuery (then restart IKEEXT), "
            "strongSwan cookie_threshold and block_threshold",
            service.name,
            server.name,
        )
