"""What putting another configuration in force does to live sessions, said before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.config.edit import origins
from engine.config.schema import AdminState, Config, RealServer, Service
from engine.config.validate import server_ports
from engine.control.records import Effect
from engine.live import NOT_IN_FORCE, Live
from engine.policy.eligibility import why_ineligible
from engine.wording import count, grouped, verb

RESTART_KEYS = ("control_socket", "control_group", "state_dir", "max_open_sockets")
"""Keys of [engine] that a running engine does not follow."""

STEERED_ANEW = "their clients are steered anew with their next packet and reconnect"


@dataclass(frozen=True, slots=True)
class _Consequence:
    text: str
    ended: int = 0
    warning: bool = False


def effect(old: Config, new: Config, live: Live) -> Effect:
    """What happens to sessions and clients when `new` takes the place of `old`; how many sessions end."""
    found = [*_of_services(old, new, live), *_of_engine(old, new, live)]
    ended = sum(consequence.ended for consequence in found)
    rest = "No other session moves." if ended else "No session moves."
    if any(_schedules_anew(before, after) for before, after in _pairs(old, new)):
        rest += " New clients are scheduled anew at once."
    grave = sorted((one for one in found if one.ended or one.warning), key=lambda one: -one.ended)
    others = [one.text for one in found if one not in grave]
    others = [*others, rest] if ended else [rest, *others]
    return Effect(lines=[*(one.text for one in grave), *others], sessions=ended)


def waiting_for_restart(old: Config, new: Config) -> list[str]:
    """The keys that differ and are followed only by an engine that is started anew."""
    return [key for key in RESTART_KEYS if getattr(old.engine, key) != getattr(new.engine, key)]


def _pairs(old: Config, new: Config) -> Iterator[tuple[Service | None, Service]]:
    """Every service of the new configuration beside the one in force of the same name."""
    before = {service.name: service for service in old.services}
    for service in new.services:
        yield before.get(service.name), service


def _of_services(old: Config, new: Config, live: Live) -> Iterator[_Consequence]:
    names = {service.name for service in new.services}
    successors = _renamed(origins(old.services, new.services), [service.name for service in new.services])
    for number, service in enumerate(old.services):
        if service.name in names:
            continue
        sessions = live.sessions_of(service)
        if successor := successors.get(number):
            text = f"{service.name} is renamed to {successor}: {_ending(sessions)}{STEERED_ANEW}."
        else:
            text = f"{service.name} is removed: {_ending(sessions)}its clients are answered no longer."
        if sessions or not successor:
            yield _Consequence(text, sessions)
    for before, after in _pairs(old, new):
        if before != after:
            yield from _of_service(before, after, live)


def _of_service(old: Service | None, new: Service, live: Live) -> Iterator[_Consequence]:
    if old is not None:
        if _endpoints(old) != _endpoints(new):
            sessions = live.sessions_of(old)
            where = f"{new.address} ports {new.ike_port} and {new.nat_t_port}"
            text = f"{new.name} moves to {where}: {_ending(sessions)}its clients must connect there."
            yield _Consequence(text, sessions)
        else:
            yield from _of_servers(old, new, live)
        yield from _of_settings(old, new, live)
    if not any(_takes_sessions(old, new, server, live) for server in new.real_servers):
        text = f"No server of {new.name} takes new sessions then: new clients are turned away."
        yield _Consequence(text, warning=True)


def _of_servers(old: Service, new: Service, live: Live) -> Iterator[_Consequence]:
    after = {server.name: server for server in new.real_servers}
    successors = _renamed(origins(old.real_servers, new.real_servers), [server.name for server in new.real_servers])
    for number, before in enumerate(old.real_servers):
        sessions = live.server(old, before).sessions
        if not sessions:
            continue
        said = f"{count(sessions, 'session')} on {old.name}/{before.name}"
        wanted = after.get(before.name)
        if reason := _why_ended(old, before, new, wanted, successors.get(number)):
            yield _Consequence(f"{said} {verb(sessions, 'end')} ({reason}); {STEERED_ANEW}.", sessions)
        elif wanted is not None and _stops_taking(before, wanted):
            yield _Consequence(f"{said} {verb(sessions, 'stay')}, but no new ones come.")


def _why_ended(
    service: Service, before: RealServer, new: Service, after: RealServer | None, successor: str | None
) -> str:
    """Why a real server's sessions end; empty: they do not."""
    if after is None:
        return f"renamed to {successor}" if successor else "removed"
    if before.address != after.address:
        return f"its address becomes {after.address}"
    if server_ports(service, before) != server_ports(new, after):
        ike_port, nat_t_port = server_ports(new, after)
        return f"its ports become {ike_port} and {nat_t_port}"
    if after.state is AdminState.DISABLED and before.state is not AdminState.DISABLED:
        return "disabled"
    return ""


def _of_settings(old: Service, new: Service, live: Live) -> Iterator[_Consequence]:
    sessions = live.sessions_of(old)
    kept = _endpoints(old) == _endpoints(new)
    if kept and sessions and (old.source, old.snat_addresses) != (new.source, new.snat_addresses):
        yield _Consequence(
            f"Sessions of {new.name} that stay reach their servers from another source address with their next packet: "
            "where a server does not follow that, the client must reconnect."
        )
    records = live.records.get(old.name, 0)
    if records and (old.persistence, old.persistence_prefix) != (new.persistence, new.persistence_prefix):
        said = count(records, "persistence record")
        text = (
            f"{said} of {new.name} {'is' if records == 1 else 'are'} cleared: clients that return are scheduled anew."
        )
        yield _Consequence(text)
    if lost := _lost_pins(old, new, live):
        yield _Consequence(f"{count(lost, 'client')} of {new.name} will be pinned no longer.")
    if old.health.type is not new.health.type:
        yield _Consequence(f"Servers of {new.name} count as neither up nor down until the first new probe.")


def _lost_pins(old: Service, new: Service, live: Live) -> int:
    names = {server.name for server in new.real_servers}
    rekeyed = old.persistence_prefix != new.persistence_prefix
    return sum(live.server(old, server).pins for server in old.real_servers if rekeyed or server.name not in names)


def _of_engine(old: Config, new: Config, live: Live) -> Iterator[_Consequence]:
    sessions = sum(server.sessions for server in live.servers.values())
    if new.engine.max_sessions < min(sessions, old.engine.max_sessions):
        yield _Consequence(
            f"max_sessions of {grouped(new.engine.max_sessions)} is below the {count(sessions, 'session')} there are: "
            "established ones stay, new ones are taken only in place of half-open or sleeping ones."
        )
    if waiting := waiting_for_restart(old, new):
        yield _Consequence(f"Restart the engine for {', '.join(waiting)}.")


def _schedules_anew(old: Service | None, new: Service) -> bool:
    return old is None or (old.scheduler, old.slow_start_s, old.real_servers) != (
        new.scheduler,
        new.slow_start_s,
        new.real_servers,
    )


def _stops_taking(before: RealServer, after: RealServer) -> bool:
    took = before.state is AdminState.ENABLED and before.weight
    takes = after.state is AdminState.ENABLED and after.weight
    return bool(took and not takes)


def _takes_sessions(old: Service | None, new: Service, server: RealServer, live: Live) -> bool:
    before = next((one for one in old.real_servers if one.name == server.name), None) if old else None
    kept = old is not None and before is not None and not _why_ended(old, before, new, server, None)
    now = live.server(new, server) if kept else NOT_IN_FORCE
    if old is not None and old.health.type is not new.health.type:
        now = replace(now, health="unknown")
    places_taken = now.sessions - now.asleep
    return why_ineligible(server.state, now.health, server.weight, places_taken, server.max_sessions, None) is None


def _ending(sessions: int) -> str:
    return f"its {count(sessions, 'session')} {verb(sessions, 'end')}; " if sessions else ""


def _renamed(sources: list[int | None], names: list[str]) -> dict[int, str]:
    """What the old entries are called now, by their number."""
    return {source: name for source, name in zip(sources, names, strict=True) if source is not None}


def _endpoints(service: Service) -> tuple[object, ...]:
    return service.address, service.ike_port, service.nat_t_port
