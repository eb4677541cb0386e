"""Which capabilities the engine has, or one that this user starts would have, and which it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.config.fast_path import why_not_wanted
from engine.config.schema import Config, HealthKind
from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import UNPRIVILEGED_FROM, ports_in_use, transparent_services

# Linux: linux/capability.h
NUMBERS: Final = {
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
FAST_PATH: Final = ("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN")
_TOPIC: Final = Topic("privileges", "capability")


@dataclass(frozen=True, slots=True)
class Privileges:
    """What a process may do."""

    capabilities: frozenset[str]
    of_engine: bool = False
    """Of the engine that runs, not of an engine that this user would start."""
    unprivileged_from: int = UNPRIVILEGED_FROM
    """The first port that needs no privilege."""
    pings: bool = False
    """Whether the process may ping without CAP_NET_RAW."""

    @property
    def granted(self) -> frozenset[str]:
        """With what one capability includes of others (capabilities(7))."""
        included = {"CAP_BPF", "CAP_PERFMON"} if "CAP_SYS_ADMIN" in self.capabilities else ()
        return self.capabilities.union(included)

    @property
    def may_use_fast_path(self) -> bool:
        """Whether it may load and attach programs."""
        return self.granted.issuperset(FAST_PATH)


def look_at_privileges(engine_pid: int | None) -> Privileges:
    """What the running engine may do, or else this process."""
    who = engine_pid or "self"
    bits = int(procfs.field_of_status(who, "CapEff") or "0", 16)
    lowest, _, highest = (procfs.text("sys/net/ipv4/ping_group_range") or "1\t0").partition("\t")
    group = int(procfs.field_of_status(who, "Gid") or "-1")
    unprivileged_from = procfs.sysctl("net/ipv4/ip_unprivileged_port_start")
    return Privileges(
        capabilities=frozenset(name for name, number in NUMBERS.items() if bits >> number & 1),
        of_engine=engine_pid is not None,
        unprivileged_from=UNPRIVILEGED_FROM if unprivileged_from is None else unprivileged_from,
        pings=int(lowest) <= group <= int(highest),
    )


def judge_privileges(config: Config, has: Privileges) -> Iterator[Diagnosis]:
    """What is lacking, and what each capability that the configuration needs is there for."""
    granted = has.granted
    who = "the engine" if has.of_engine else "an engine that this user starts"
    remedy = "run the engine as root, or by its systemd unit, which grants what it needs"
    transparent = [service.name for service in transparent_services(config)]
    low = sorted({port for _, port in ports_in_use(config) if port < has.unprivileged_from})
    pinging = any(service.health.type is HealthKind.ICMP for service in config.services) and not has.pings
    if transparent:
        named = f'source = "transparent" of {", ".join(transparent)}'
        yield _one(granted, "CAP_NET_ADMIN", f"{named} works", f"{who} lacks it: {named} cannot work", remedy)
    if low:
        ports = " and ".join(map(str, low)) if len(low) <= 2 else f"{len(low)} ports below {has.unprivileged_from}"
        yield _one(
            granted,
            "CAP_NET_BIND_SERVICE",
            f"UDP {ports} can be bound",
            f"{who} lacks it: UDP {ports} cannot be bound",
            remedy,
        )
    if transparent or pinging:
        use = "clients' datagrams leave in batches" if transparent else "ICMP probes can be sent"
        lack = (
            f"{who} lacks it: each flow of a transparent service takes a socket and a file of its own"
            if transparent
            else f"{who} lacks it: ICMP probes cannot be sent, and every server looks down"
        )
        yield _one(granted, "CAP_NET_RAW", use, lack, remedy, grave=pinging)
    if not why_not_wanted(config):
        lacking = [name for name in FAST_PATH if name not in granted]
        names = ", ".join(lacking or FAST_PATH)
        if lacking:
            yield _TOPIC.warn(
                f"{who} lacks {names}: no fast path, all data takes the slow path", "fast path", remedy=remedy
            )
        else:
            yield _TOPIC.ok(f"{names} are there: the fast path may be used", "fast path")


def _one(granted: frozenset[str], name: str, use: str, lack: str, remedy: str, *, grave: bool = True) -> Diagnosis:
    if name in granted:
        return _TOPIC.ok(use, name)
    say = _TOPIC.fail if grave else _TOPIC.warn
    return say(lack, name, remedy=remedy)
