"""How many files and ports the engine may have: flows of snat services may each take one of both."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.config.schema import Config, Source
from engine.control.status import EngineStatus
from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.runtime import RESERVED_FILES
from engine.wording import grouped

FLOWS_PER_SESSION: Final = 2
UNLIMITED: Final = 1 << 30

_TOPIC: Final = Topic("privileges", "open-files")
_PORTS: Final = Topic("services", "spare-ports")


@dataclass(frozen=True, slots=True)
class FileLimit:
    """RLIMIT_NOFILE's hard limit, which the engine takes, and what became of it."""

    files: int
    taken_back: int = 0
    """Sockets that a running engine closed under flows that still had traffic."""


def look_at_files(engine: EngineStatus | None) -> FileLimit:
    """Of the running engine, or else of this process."""
    if engine is not None:
        for line in (procfs.text(engine.pid, "limits") or "").splitlines():
            if line.startswith("Max open files"):
                hard = line.split()[4]
                return FileLimit(UNLIMITED if hard == "unlimited" else int(hard), engine.sockets_taken_back)
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FileLimit(UNLIMITED if limit == resource.RLIM_INFINITY else limit, 0)


def judge_files(config: Config, found: FileLimit, *, spares: bool) -> Iterator[Diagnosis]:
    """Whether it is enough for the sessions that may come.

    `spares`: flows of snat services with snat_addresses need no sockets, for the kernel does its part.
    """
    settings = config.engine
    fit = found.files - RESERVED_FILES
    by_sockets = [
        service.name
        for service in config.services
        if service.source is Source.SNAT and not (spares and service.snat_addresses)
    ]
    wanted = settings.max_open_sockets or (FLOWS_PER_SESSION * settings.max_sessions if by_sockets else 0)
    remedy = "set LimitNOFILE in the systemd unit, or for a shell raise the limit"
    command = f"ulimit -Hn {max(wanted + RESERVED_FILES, 2 * found.files)}"
    if fit <= 0:
        yield _TOPIC.fail(
            f"{grouped(found.files)} files: the engine alone takes up to {RESERVED_FILES}",
            remedy=remedy,
            command=command,
        )
    elif found.taken_back:
        yield _TOPIC.fail(
            f"{grouped(found.files)} files are too few: {grouped(found.taken_back)} sockets were closed under flows "
            "in use, and their tunnels stall",
            remedy=remedy,
            command=command,
        )
    elif wanted > fit:
        what = "max_open_sockets asks" if settings.max_open_sockets else "max_sessions ask"
        yield _TOPIC.warn(
            f"{grouped(found.files)} files: room for {grouped(fit)} sockets towards real servers, while {what} for "
            f"{grouped(wanted)}; beyond that, flows lose theirs",
            remedy=f"{remedy}; or set snat_addresses in {', '.join(by_sockets)}, with which flows need no sockets "
            "where the fast path is on"
            if by_sockets
            else remedy,
            command=command,
        )
    else:
        yield _TOPIC.ok(f"{grouped(found.files)} files may be open")


def judge_spare_ports(config: Config, ports: range) -> Iterator[Diagnosis]:
    """Whether snat flows find ports that the kernel gives to no socket; none are left where `ports` is empty."""
    if not any(service.source is Source.SNAT and service.snat_addresses for service in config.services):
        return
    if ports:
        yield _PORTS.ok(f"{grouped(len(ports))} ports of each snat address are there for flows without sockets")
    else:
        yield _PORTS.warn(
            "the kernel chooses ports from nearly all there are, so every flow of an snat service needs a socket",
            remedy="leave it fewer, from the next start of the engine on",
            command='sysctl -w net.ipv4.ip_local_port_range="32768 60999"',
        )
