"""Whether the engine can have the addresses and ports of its services, and who has them else."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.config.addresses import expand_pool, spell_endpoint
from engine.config.schema import Config
from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import ports_in_use
from engine.doctor.running import Engine
from engine.net import sockets
from engine.net.sockets import BindError

_TOPIC: Final = Topic("services", "port")
_POOL: Final = Topic("services", "snat-address")
_EVERYWHERE: Final = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a port."""

    pid: int | None
    """None: this user may not know."""
    program: str = ""
    unit: str = ""
    """Its systemd unit; empty: none."""


@dataclass(frozen=True, slots=True)
class PortUse:
    """One address and port of a service."""

    service: str
    endpoint: str
    holder: Holder | None = None
    failure: str = ""
    """Why it could not be bound on trial, and what to do."""
    denied: bool = False
    """It could not, for this user lacks the right."""


def look_at_ports(config: Config) -> list[PortUse]:
    """Who has each port; what nobody has is bound for a moment."""
    inodes = {(address, port): inode for address, port, inode in udp_sockets()}
    held = {}
    for service, port in ports_in_use(config):
        address = str(service.address)
        use = PortUse(service.name, spell_endpoint(service.address, port))
        inode = next((inodes[where, port] for where in (address, *_EVERYWHERE) if (where, port) in inodes), "")
        if not inode:
            try:
                sockets.listener(address, port).close()
            except BindError as error:
                use = replace(use, failure=str(error), denied=isinstance(error.__cause__, PermissionError))
            except OSError as error:
                use = replace(use, failure=f"UDP {use.endpoint} cannot be had: {error.strerror}")
        held[use] = inode
    holders = _holders({inode for inode in held.values() if inode})
    return [replace(use, holder=holders.get(inode, Holder(None))) if inode else use for use, inode in held.items()]


def judge_ports(uses: Iterable[PortUse], engine: Engine) -> Iterator[Diagnosis]:
    """Whether services can listen, or do."""
    runs = engine.pid is not None or bool(engine.denied)
    for use in uses:
        holder = use.holder
        if holder is not None and holder.pid is not None and holder.pid == engine.pid:
            yield _TOPIC.ok(f"UDP {use.endpoint} is the engine's", use.service)
        elif holder is not None and holder.pid is None and runs:
            yield _TOPIC.unchecked(f"whether UDP {use.endpoint} is the engine's", use.service)
        elif holder is not None:
            yield _taken(use, holder)
        elif use.denied:
            yield _TOPIC.unchecked(f"whether UDP {use.endpoint} can be bound; nobody has it", use.service)
        elif use.failure:
            yield _TOPIC.fail(use.failure, use.service)
        elif engine.pid is not None:
            yield _TOPIC.warn(
                f"UDP {use.endpoint} is free: the engine that runs has another configuration",
                use.service,
                command="ikeconsole reload",
            )
        else:
            yield _TOPIC.ok(f"UDP {use.endpoint} is free", use.service)


def judge_pools(config: Config) -> Iterator[Diagnosis]:
    """Whether all snat addresses are this machine's."""
    for service in config.services:
        pool = [str(address) for address in expand_pool(service.snat_addresses)]
        failures = []
        for address in pool:
            try:
                sockets.check_local(address)
            except (BindError, OSError) as error:
                failures.append(str(error))
        if failures:
            others = f" ({len(failures)} of {len(pool)} are not there)" if len(failures) > 1 else ""
            yield _POOL.fail(f"{failures[0]}{others}", service.name)
        elif pool:
            yield _POOL.ok(f"{len(pool)} of {len(pool)} are this machine's", service.name)


def udp_sockets() -> Iterator[tuple[str, int, str]]:
    """Address, port and inode of every UDP socket of this network namespace (proc(5), /proc/net/udp)."""
    for name, family in (("udp", socket.AF_INET), ("udp6", socket.AF_INET6)):
        for line in (procfs.text("net", name) or "").splitlines()[1:]:
            words = line.split()
            with suppress(IndexError, ValueError):
                address, _, port = words[1].partition(":")
                yield _address(address, family), int(port, 16), words[9]


def _address(packed: str, family: socket.AddressFamily) -> str:
    """Whole words in the order of this machine, in hex."""
    words = (int(packed[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(packed), 8))
    return socket.inet_ntop(family, b"".join(words))


def _holders(inodes: Collection[str]) -> dict[str, Holder]:
    """The processes that have sockets with these inodes, as far as this user may see."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, Holder] = {}
    for directory in procfs.PROC.glob("[0-9]*/fd") if wanted else ():
        pid = int(directory.parent.name)
        with suppress(OSError):
            for entry in os.scandir(directory):
                if inode := wanted.get(_target(entry.path)):
                    found[inode] = Holder(pid, (procfs.text(pid, "comm") or "?").strip(), _unit(pid))
    return found


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        # Closed meanwhile.
        return ""


def _unit(pid: int) -> str:
    """The systemd unit in whose control group a process is."""
    for line in (procfs.text(pid, "cgroup") or "").splitlines():
        name = Path(line.rpartition(":")[2]).name
        if name.endswith(".service"):
            return name
    return ""


def _taken(use: PortUse, holder: Holder) -> Diagnosis:
    if holder.pid is None:
        return _TOPIC.fail(
            f"UDP {use.endpoint} is taken by a program of another user",
            use.service,
            remedy="as root this names it",
            command="ikeconsole doctor",
        )
    what = f"{holder.program} (pid {holder.pid}{f', {holder.unit}' if holder.unit else ''})"
    return _TOPIC.fail(
        f"UDP {use.endpoint} is taken by {what}: the engine cannot start",
        use.service,
        remedy="stop that program, and keep it from starting again",
        command=f"systemctl disable --now {holder.unit}" if holder.unit else f"kill {holder.pid}",
    )
