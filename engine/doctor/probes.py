"""What real servers answer when they are asked, each on both of its ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from engine.config.addresses import expand_pool
from engine.config.schema import Config, RealServer, Service
from engine.config.validate import server_ports
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import place, servers_in_use
from engine.health.ike import IkeProber
from engine.health.result import ProbeResult, ProbeTarget

AT_ONCE: Final = 128
"""Real servers asked at the same time."""

_TOPIC: Final = Topic("real servers", "ike-probe")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a real server said on its IKE port and, if it did there, on its NAT-T port."""

    ike: ProbeResult
    nat_t: ProbeResult


async def probe_all(config: Config) -> dict[str, Answers]:
    """Ask every real server that is in use, by its place."""
    found: dict[str, Answers] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def probe(service: Service, server: RealServer) -> None:
        async with limit:
            ike_port, nat_t_port = server_ports(service, server)
            ike = await ask(service, server, ike_port)
            # Who is silent on the one is hardly worth the time to ask on the other.
            nat_t = await ask(service, server, nat_t_port) if ike.ok else ike
            found[place(service, server)] = Answers(ike, nat_t)

    async with trio.open_nursery() as nursery:
        for service, server in servers_in_use(config):
            nursery.start_soon(probe, service, server)
    return found


async def ask(service: Service, server: RealServer, port: int, client: str = "") -> ProbeResult:
    """Probe one port of a real server as the engine does; or with the address of a client as source."""
    pool = expand_pool(service.snat_addresses)
    target = ProbeTarget(
        name=server.name,
        address=str(server.address),
        port=port,
        source=client or (str(pool[0]) if pool else None),
        nat_t=port == server_ports(service, server)[1],
        transparent=bool(client),
    )
    return await IkeProber().probe(target, service.health)


def judge_probes(config: Config, answers: Mapping[str, Answers]) -> Iterator[Diagnosis]:
    """Which real servers answer IKE."""
    for service, server in servers_in_use(config):
        subject = place(service, server)
        said = answers[subject]
        ike_port, nat_t_port = server_ports(service, server)
        address = str(server.address)
        if not said.ike.ok:
            yield _TOPIC.fail(
                f"{address} port {ike_port}: {said.ike.reason}",
                subject,
                remedy=f"see that firewalls pass UDP {ike_port} and {nat_t_port} to {server.name}, and start its VPN "
                "service: `Restart-Service RemoteAccess` on Windows; on Linux, there:",
                command="systemctl restart strongswan",
            )
        elif not said.nat_t.ok:
            yield _TOPIC.warn(
                f"{address} answers on port {ike_port}, but on port {nat_t_port}: {said.nat_t.reason}; clients get "
                "no further than IKE_SA_INIT if that is so for them",
                subject,
                remedy=f"see that firewalls pass UDP {nat_t_port} to {server.name}",
            )
        elif said.ike.busy:
            yield _TOPIC.warn(
                f"{address} demands cookies: it has many half-open sessions, or one address has too many of them",
                subject,
                command=f"ikeconsole advise {subject}",
            )
        else:
            took = "" if said.ike.rtt_s is None else f" in {1000 * said.ike.rtt_s:.1f} ms"
            yield _TOPIC.ok(f"{address}: {said.ike.reason}{took}; port {nat_t_port} too", subject)
