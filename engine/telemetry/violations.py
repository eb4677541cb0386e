"""Violated invariants as events, each with a client, and as alarms while they go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from engine.config.durations import format_duration
from engine.config.schema import Duration
from engine.events import EventLog
from engine.sessions.invariants import (
    NO_REPLIES,
    EspFirst,
    FragmentedAuth,
    IdleTooShort,
    PortsSplit,
    SpiSplit,
    StrangeReply,
    Violation,
)
from engine.sessions.service import Service
from engine.telemetry.alarms import Finding
from engine.telemetry.conditions import Stands
from engine.telemetry.rise import QUIET_S, Rise
from engine.wording import count, grouped, spelled_span

EVENT_EVERY_S: Final = 10.0
"""Of one kind in one service; each says how many it stands for."""
GUESSES_WORTH_TELLING: Final = 5
"""ESP before IKE: anybody can send a datagram that looks like it."""
SET_UP_QUIET_S: Final = 600.0
"""What is only seen when tunnels are set up is over after a longer silence: a service may set up few."""
RESTARTED_S: Final = 600.0
"""Tunnels that the engine does not know are its own past for so long after its start."""


@dataclass(slots=True)
class _Spell:
    """How one invariant of one service fares."""

    rise: Rise
    told_s: float = float("-inf")
    counted: int = 0
    untold: int = 0


class ViolationWatch:
    """Reads every service's violations once a tick."""

    def __init__(self, events: EventLog, now_s: float) -> None:
        self._events = events
        self._started_s = now_s
        self._spells: dict[tuple[Service, str], _Spell] = {}

    def look(self, services: Iterable[Service], now_s: float) -> None:
        """Take in the counters, and tell of what is new."""
        before, self._spells = self._spells, {}
        for service in services:
            latest = service.violations.latest
            for kind, total in service.violations.counts.items():
                if kind == NO_REPLIES:
                    continue
                quiet_s = SET_UP_QUIET_S if kind == FragmentedAuth.kind else QUIET_S
                spell = self._spells[service, kind] = before.get((service, kind)) or _Spell(Rise(0, quiet_s))
                spell.rise.look(total, now_s)
                spell.untold += total - spell.counted
                spell.counted = total
                if spell.untold and now_s - spell.told_s >= EVENT_EVERY_S:
                    self._tell(service, latest[kind], spell.untold - 1)
                    spell.told_s, spell.untold = now_s, 0
                if not spell.rise.gained:
                    # What is long past says nothing about what may be wrong now.
                    latest.pop(kind, None)

    def findings(self, stands: Stands, now_s: float) -> Iterator[Finding]:
        """What goes on."""
        for (service, kind), spell in self._spells.items():
            least = GUESSES_WORTH_TELLING if kind == EspFirst.kind and not stands(kind, service.name, "") else 1
            if spell.rise.gained >= least:
                latest = service.violations.latest[kind]
                times = f", {grouped(spell.rise.gained)} times lately" if spell.rise.gained > 1 else ""
                text = f"{service.name}: {_case(service, latest)}{times}: {_harm(service, latest)}"
                yield Finding(kind, text, _remedy(service, latest, now_s - self._started_s), service.name)

    def _tell(self, service: Service, latest: Violation, others: int) -> None:
        more = f"; {count(others, 'more case')} since the last such event" if others else ""
        self._events.add_of_session(
            "warning",
            latest.kind,
            f"{_case(service, latest)}{more}",
            service=service.name,
            server=_server(latest),
            client=latest.host,
        )


def _server(violation: Violation) -> str:
    return violation.nat_t_server if isinstance(violation, PortsSplit) else violation.server


def _case(service: Service, violation: Violation) -> str:
    """What happened to the client of the latest case."""
    config = service.config
    match violation:
        case PortsSplit(host, ike_server, nat_t_server):
            return f"{host} reaches {ike_server} on port {config.ike_port}, but {nat_t_server} on {config.nat_t_port}"
        case SpiSplit(host, spi_i, server, other_server):
            return f"IKE SA {spi_i:016x} of {host} is on {server}, but messages of it go to {other_server}"
        case EspFirst(host, server):
            return f"{host} sent ESP of a tunnel that is not known here; it went to {server} on a guess"
        case FragmentedAuth(host, server, size_bytes, inward):
            way = f"{host} to {server}" if inward else f"{server} to {host}"
            return f"IKE_AUTH from {way} has {grouped(size_bytes)} bytes and travels in IP fragments"
        case IdleTooShort(host, _, silent_s):
            idle = format_duration(config.timeouts.nat_t_idle_s)
            return f"{host} was only silent for {_whole(silent_s)}, but its flow was forgotten after {idle}"
        case StrangeReply(host, server, source):
            where = f"another port of {server}" if source == _address(service, server) else source
            return f"{host} waits for {server}, but is answered by {where}"


def _harm(service: Service, violation: Violation) -> str:
    """Who is hurt by it."""
    match violation:
        case PortsSplit():
            return "such tunnels do not come up"
        case SpiSplit(other_server=other_server):
            return f"{other_server} does not know it, and the tunnel hangs"
        case EspFirst():
            return "on the wrong server a tunnel is dead until its client connects anew"
        case FragmentedAuth():
            return "where a firewall drops fragments, clients see error 809"
        case IdleTooShort():
            return "what its server sent meanwhile may be lost"
        case StrangeReply():
            where = "at this balancer" if service.is_snat else "at NATs and firewalls"
            return f"such answers are lost {where}, and no tunnel comes up"


def _remedy(service: Service, violation: Violation, young_s: float) -> str:
    match violation:
        case PortsSplit() | SpiSplit() if not service.config.port_following:
            return f"set port_following = true in {service.name}: off, it only suits servers that share their SAs"
        case PortsSplit(host) | SpiSplit(host):
            return (
                f"`ikeconsole clear {host}` has the client connect anew, to one server; "
                "port following is on, so this should not happen: please report it"
            )
        case EspFirst():
            if young_s < RESTARTED_S:
                return (
                    f"nothing to do: the engine started {spelled_span(young_s)} ago and learns its tunnels again; "
                    "clients of dead ones connect anew by themselves"
                )
            return (
                "see that UDP 500 and 4500 of a client both come this way, always: a firewall, router or second "
                "balancer in front may send some of it elsewhere"
            )
        case FragmentedAuth(_, server, _, _, client_offers, server_agrees):
            return _enable_fragmentation(server, client_offers=client_offers, server_agrees=server_agrees)
        case IdleTooShort(silent_s=silent_s):
            enough = _whole(2 * silent_s)
            return f"set timeouts.nat_t_idle of {service.name} to {enough}, or have clients send keepalives every 20 s"
        case StrangeReply(server=server, source=source):
            address = _address(service, server)
            if source == address:
                return f"nothing between {server} and this balancer may translate ports: look for a NAT there"
            return f"have {server} answer from {address}, where it is asked; or make {source} its address here"


def _enable_fragmentation(server: str, *, client_offers: bool | None, server_agrees: bool) -> str:
    if client_offers is None:
        return f"enable IKEv2 fragmentation at the client and at {server}: which of them lacks it was not seen"
    if not client_offers:
        return (
            "enable IKEv2 fragmentation at the client, which does not offer it: Windows does from 10 1803 on, "
            "strongSwan with fragmentation = yes"
        )
    if not server_agrees:
        return (
            f"enable IKEv2 fragmentation at {server}, which does not agree to it: on Windows Server 2019 or later "
            "registry value EnableServerFragmentation = 1, on strongSwan fragmentation = yes"
        )
    return f"both ends know IKEv2 fragmentation, but cut too big pieces: lower fragment_size at client and {server}"


def _address(service: Service, server: str) -> str:
    found = service.servers.get(server)
    return found.address if found else ""


def _whole(span_s: float) -> str:
    """As a configuration spells it, to the second."""
    return format_duration(Duration(round(span_s)))
