"""Notices that this machine lost what its services stand on: a network device, or an address of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

import trio

from engine.net.own_network import LinkState, OwnNetwork, Place, look, source_towards
from engine.sessions.real_server import RealServer
from engine.sessions.service import Service
from engine.telemetry.alarms import Finding
from engine.wording import listed

LOOK_EVERY_S: Final = 0.5
ASKED_AGAIN: Final = 4
"""Real servers with every look: the kernel changes to another own address in good time before one expires."""


class Hurt(StrEnum):
    """Who suffers without an address: services or real servers stand in the gap."""

    CLIENTS = "clients of {} get no answers"
    SOURCE = "clients of {} whose packets leave from it are cut off"
    SERVERS = "{} cannot be reached"


@dataclass(frozen=True, slots=True)
class Need:
    """An own address that a service needs, and who is hurt without it."""

    address: str
    hurt: Hurt
    who: tuple[str, ...]


class OwnNetworkWatch:
    """Remembers where the needed addresses were while all was well."""

    def __init__(self, look: Callable[[], OwnNetwork] = look) -> None:
        self._look = look
        self._now = OwnNetwork({}, {})
        self._places: dict[str, Place] = {}
        """Where each address was last."""
        self._sources: dict[str, str] = {}
        """The own address that was last used towards each real server that answered."""
        self._unsure: set[str] = set()
        """Real servers towards which it may be another one since."""
        self._changed_s = 0.0
        self._needs: list[Need] = []

    async def run(self, services: Callable[[], Collection[Service]]) -> None:
        """Go on looking, on a thread: where there are thousands of addresses it takes a while."""
        while True:
            with suppress(OSError):
                asked = await trio.to_thread.run_sync(self.ask, self.questions(services()), abandon_on_cancel=True)
                self.take_in(*asked, services(), trio.current_time())
            await trio.sleep(LOOK_EVERY_S)

    def questions(self, services: Iterable[Service]) -> list[str]:
        """The real servers towards which the own address is not known, and a few others in their turn.

        Only where a server answered since things changed it is the right one that the kernel tells: while a device is
        down, that may be the address of another one, by which nothing comes back.
        """
        well = [server for server in _servers(services) if server.health.health == "up"]
        answering = [server for server in well if not server.health.contrary_in_row]
        hosts = {server.address for server in answering}
        again = islice((host for host in self._sources if host in hosts and host not in self._unsure), ASKED_AGAIN)
        return list({server.address for server in answering if self._is_question(server)} | set(again))

    def ask(self, servers: Iterable[str]) -> tuple[OwnNetwork, dict[str, str]]:
        """How things are now, and the own addresses towards servers; raises OSError."""
        sources = {host: source for host in servers if (source := source_towards(host))}
        return self._look(), sources

    def take_in(self, now: OwnNetwork, sources: Mapping[str, str], services: Collection[Service], now_s: float) -> None:
        """Know what was asked."""
        hosts = {server.address for server in _servers(services)}
        if now != self._now:
            # What was known already may have been asked after the change, and is asked again once a server answers.
            sources = {host: source for host, source in sources.items() if host not in self._sources}
            self._now, self._changed_s, self._unsure = now, now_s, hosts
        else:
            self._unsure -= sources.keys()
        others = {host: source for host, source in self._sources.items() if host not in sources}
        self._sources = {host: source for host, source in {**others, **sources}.items() if host in hosts}
        self._needs = [need for service in services for need in self._needs_of(service)]
        known = {**self._places, **now.places}
        self._places = {need.address: known[need.address] for need in self._needs if need.address in known}

    def findings(self) -> Iterator[Finding]:
        """What is missing: at most one alarm of devices and one of addresses."""
        on_device: dict[str, list[Need]] = defaultdict(list)
        missing: dict[str, list[Need]] = defaultdict(list)
        for need in self._needs:
            place = self._places.get(need.address)
            if place is None:
                continue
            if self._now.state_of(place.device) is not LinkState.UP:
                on_device[place.device].append(need)
            elif need.address not in self._now.places:
                missing[need.address].append(need)
        if on_device:
            states = {device: self._now.state_of(device) for device in on_device}
            yield Finding(
                "device-down",
                "; ".join(f"{device} is {states[device].value}: {_told(needs)}" for device, needs in on_device.items()),
                f"{listed([_mend(device, state) for device, state in states.items()])}; "
                "tunnels go on by themselves once it is back",
            )
        if missing:
            commands = [_give(address, self._places[address]) for address in missing]
            yield Finding(
                "address-gone",
                "; ".join(f"{address} is on no device any more: {_told(needs)}" for address, needs in missing.items()),
                f"{listed(commands)}, unless another machine is to have it now; tunnels go on by themselves then",
            )

    def _is_question(self, server: RealServer) -> bool:
        answered_s = server.health.last_probe_s
        answered_since = answered_s is not None and answered_s > self._changed_s
        return server.address not in self._sources or (server.address in self._unsure and answered_since)

    def _needs_of(self, service: Service) -> Iterator[Need]:
        yield Need(str(service.config.address), Hurt.CLIENTS, (service.name,))
        for address in service.snat_pool:
            yield Need(address, Hurt.SOURCE, (service.name,))
        served: dict[str, list[str]] = defaultdict(list)
        for server in service.servers.values():
            if source := self._sources.get(server.address):
                served[source].append(f"{service.name}/{server.name}")
        for source, servers in served.items():
            yield Need(source, Hurt.SERVERS, tuple(servers))


def _servers(services: Iterable[Service]) -> Iterator[RealServer]:
    return (server for service in services for server in service.servers.values())


def _told(needs: Iterable[Need]) -> str:
    """Who suffers, in a sentence."""
    hurt: dict[Hurt, list[str]] = defaultdict(list)
    for need in needs:
        hurt[need.hurt] += need.who
    return ", ".join(kind.format(listed(list(dict.fromkeys(who)))) for kind, who in hurt.items())


def _give(address: str, place: Place) -> str:
    return f"`ip address add {address}/{place.prefix_bits} dev {place.device}`"


def _mend(device: str, state: LinkState) -> str:
    match state:
        case LinkState.DOWN:
            return f"`ip link set {device} up`"
        case LinkState.NO_CARRIER:
            return f"see the cable of {device} and the port at its other end"
        case _:
            return f"bring {device} back: `dmesg` tells why it went"
