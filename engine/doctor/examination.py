"""Everything that the doctor looks at, in the order in which it is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import trio

from engine.acceleration import look_ahead
from engine.config.fast_path import why_not_wanted
from engine.config.schema import Config
from engine.doctor import procfs
from engine.doctor.clock import judge_clock, look_at_clock
from engine.doctor.commands import CommandError, Denied
from engine.doctor.conntrack import judge_conntrack, look_at_conntrack
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.fast_path import judge_left, judge_prospects, judge_running, judge_unwanted, look_for_left
from engine.doctor.firewall import judge_firewall, look_at_firewall
from engine.doctor.forwarding import judge_forwarding
from engine.doctor.kernel import judge_kernel, judge_tproxy, look_at_tproxy, release
from engine.doctor.limits import judge_files, judge_spare_ports, look_at_files
from engine.doctor.needs import place, servers_in_use
from engine.doctor.network import Network, look_at_network
from engine.doctor.places import judge_places, look_at_places
from engine.doctor.plumbing import TOPIC as RULES
from engine.doctor.plumbing import judge_plumbing, look_at_plumbing
from engine.doctor.ports import judge_pools, judge_ports, look_at_ports
from engine.doctor.privileges import Privileges, judge_privileges, look_at_privileges
from engine.doctor.probes import judge_probes, probe_all
from engine.doctor.return_path import judge_return_path, try_return_path
from engine.doctor.rp_filter import dropped_by_filter, judge_rp_filter
from engine.doctor.running import Engine, judge_engine
from engine.doctor.sizes import judge_fragments, judge_mtu, look_at_fragments
from engine.doctor.ways import judge_routes_to_clients, judge_routes_to_servers
from engine.net.snat_guises import spare_ports

_NETWORK = Topic("network", "devices")


async def examine(config: Config, path: Path, engine: Engine, client: Mapping[int, str]) -> list[Diagnosis]:
    """Look at machine and real servers; nothing is left changed.

    `engine` is the one that runs, if one does; `client` is an address of a client by IP version, to which ways are
    looked up and as which real servers are asked.
    """
    network = await look_at_network(config, client)
    privileges = look_at_privileges(engine.pid)
    return [
        *judge_engine(engine, path),
        *_rights(config, engine, privileges),
        *judge_kernel(release()),
        *await _tproxy(config),
        *judge_clock(look_at_clock()),
        *await _fast_path(config, path, engine, privileges),
        *_network(config, network),
        *judge_conntrack(look_at_conntrack(), config.engine.max_sessions),
        *judge_firewall(config, await look_at_firewall()),
        *judge_ports(look_at_ports(config), engine),
        *judge_pools(config),
        *judge_spare_ports(config, spare_ports()),
        *await _plumbing(config, engine),
        *await _real_servers(config, engine, network),
        *judge_places(look_at_places(config.engine), others_engine=_others(engine)),
    ]


def _rights(config: Config, engine: Engine, privileges: Privileges) -> Iterator[Diagnosis]:
    """Those of an engine that runs are not this user's."""
    if engine.denied:
        yield Topic("privileges", "capability").unchecked("what the engine may do, and how many files it may open")
        return
    yield from judge_privileges(config, privileges)
    yield from judge_files(config, look_at_files(engine.status), spares=privileges.may_use_fast_path)


async def _tproxy(config: Config) -> Iterator[Diagnosis]:
    found = await look_at_tproxy(config)
    return judge_tproxy(found) if found else iter(())


async def _fast_path(config: Config, path: Path, engine: Engine, privileges: Privileges) -> Iterator[Diagnosis]:
    unwanted = why_not_wanted(config)
    if engine.status is not None:
        return judge_unwanted(unwanted) if unwanted else judge_running(engine.status)
    left = await trio.to_thread.run_sync(look_for_left, config.engine)
    if unwanted:
        return chain(judge_left(left, path), judge_unwanted(unwanted))
    prospects = await trio.to_thread.run_sync(look_ahead, config)
    privileged = privileges.may_use_fast_path
    return chain(judge_left(left, path), judge_prospects(prospects, privileged=privileged, left_on=left.devices))


def _network(config: Config, network: Network) -> Iterator[Diagnosis]:
    if network.failure:
        yield _NETWORK.unchecked("devices and routes", why=network.failure)
        return
    yield from judge_rp_filter(config, network, dropped_by_filter())
    yield from judge_forwarding(config, network)
    yield from judge_mtu(config, network)
    yield from judge_fragments(look_at_fragments())
    yield from judge_routes_to_clients(config, network)


async def _plumbing(config: Config, engine: Engine) -> Iterator[Diagnosis]:
    """Only a running engine has any, and only of transparent services."""
    if not engine.covered:
        return iter(())
    try:
        return judge_plumbing(await look_at_plumbing(config))
    except Denied:
        return iter([RULES.unchecked("whether the engine's rules are in place")])
    except (CommandError, ValueError) as error:
        return iter([RULES.unchecked("whether the engine's rules are in place", why=str(error))])


async def _real_servers(config: Config, engine: Engine, network: Network) -> Iterator[Diagnosis]:
    answers = await probe_all(config)
    tried = await try_return_path(config, answers, network, engine.covered)
    said = chain(
        () if network.failure else judge_routes_to_servers(config, network),
        judge_probes(config, answers),
        judge_return_path(config, tried, network),
    )
    order = {place(*one): number for number, one in enumerate(servers_in_use(config))}
    return iter(sorted(said, key=lambda diagnosis: order[diagnosis.subject]))


def _others(engine: Engine) -> bool:
    """Whether an engine runs as another user than this one."""
    if engine.pid is None:
        return bool(engine.denied)
    return procfs.field_of_status(engine.pid, "Uid") != str(os.geteuid())
