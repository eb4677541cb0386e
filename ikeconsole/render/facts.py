"""What is known of one service, one real server or the engine, as labelled facts, the most telling first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.control.status import (
    ChallengeStatus,
    EngineStatus,
    FastPathDevice,
    KernelStatus,
    ServerStatus,
    ServiceStatus,
)
from engine.wording import count
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import UNKNOWN, age, clock, grouped, percent, round_trip, si

_DAY_S = 86400
_SOURCES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what is known under it, fit to be shown."""

    label: str
    value: str
    names: bool = False
    """Whether the label is the name of the thing itself."""


def service_facts(service: ServiceStatus) -> Iterator[Fact]:
    """A service: where it is, how it schedules, what it drops."""
    following = "following" if service.port_following else "not following"
    ports = f"{service.ike_port}+{service.nat_t_port} {following}"
    yield Fact(printable(service.name), f"{printable(service.address)} {ports}", names=True)
    yield Fact("source", printable(service.source))
    yield Fact("scheduler", printable(service.scheduler))
    yield Fact("dropped", _drops(service) or "nothing")
    if any(service.violations.values()):
        yield Fact("violations", _counts(service.violations))
    if is_worth_telling(service.challenge):
        yield Fact("cookies", challenge_words(service.challenge))
    yield Fact("persistence", _persistence(service))
    yield Fact("servers", f"{taking_sessions(service)} take sessions")
    yield Fact("since start", _since_start(service))


def server_facts(server: ServerStatus, now_at: float) -> Iterator[Fact]:
    """A real server: its health and why, what it carries; `now_at` is the engine's clock."""
    yield Fact(printable(server.name), printable(server.address), names=True)
    yield Fact("health", health_words(server, now_at))
    yield Fact("probe", last_probe(server))
    if server.source_use:
        yield Fact("sources", source_use(server))
    if server.agent_load is not None:
        yield Fact("agent load", f"{server.agent_load} of 100")
    yield Fact("oldest session", UNKNOWN if server.oldest_session_s is None else age(server.oldest_session_s))
    yield Fact("path", printable(server.path))
    yield Fact("room", f"at most {count(server.max_sessions, 'session')}" if server.max_sessions else "no limit")
    yield Fact("weight", f"{server.weight}: {share_words(server)}")


def engine_facts(engine: EngineStatus) -> Iterator[Fact]:
    """The engine: how full what is bounded is, and which way the data goes."""
    yield Fact("table", percent(engine.sessions, engine.max_sessions))
    yield Fact("persistence", grouped(sum(service.persistence_records for service in engine.services)))
    yield Fact("sockets", percent(engine.open_sockets, engine.max_open_sockets))
    yield Fact("memory", f"{si(engine.memory_bytes)}B")
    reason = f": {printable(engine.fast_path_reason)}" if engine.fast_path_reason else ""
    yield Fact("fast path", f"{printable(engine.fast_path)}{reason}")
    if engine.kernel.devices:
        yield Fact("in the kernel", kernel_words(engine.kernel))
        yield Fact("on devices", ", ".join(map(_device, engine.kernel.devices)))
    if engine.kernel.refused:
        yield Fact("refused", _counts(engine.kernel.refused))
    if engine.kernel.kept_off:
        yield Fact("kept off", _counts(engine.kernel.kept_off))
    if engine.kernel.passed_up:
        yield Fact("passed up", _counts(engine.kernel.passed_up))


def is_worth_telling(challenge: ChallengeStatus) -> bool:
    """Whether new clients are or were asked for cookies."""
    return challenge.active or challenge.sent > 0


def challenge_words(challenge: ChallengeStatus) -> str:
    """Whether new clients are asked for cookies, and what came of it."""
    counts = (
        f"{grouped(challenge.sent)} sent, {grouped(challenge.accepted)} accepted, {grouped(challenge.refused)} refused"
    )
    return f"{'demanded' if challenge.active else 'not demanded now'} ({printable(challenge.mode)}), {counts}"


def kernel_words(kernel: KernelStatus) -> str:
    """What the kernel forwards by itself: 2 flows, 408 packets."""
    return f"{count(kernel.flows, 'flow')}, {count(kernel.forwarded, 'packet')}"


def taking_sessions(service: ServiceStatus) -> str:
    """How many of its real servers take new sessions: 2 of 3."""
    return f"{sum(server.weighted_share > 0 for server in service.servers)} of {len(service.servers)}"


def _drops(service: ServiceStatus) -> str:
    return _counts(service.drops)


def _counts(numbers: Mapping[str, int]) -> str:
    """By reason, the most frequent first."""
    counts = sorted(numbers.items(), key=lambda one: -one[1])
    return ", ".join(f"{grouped(number)} {printable(reason)}" for reason, number in counts if number)


def _device(device: FastPathDevice) -> str:
    way = "" if device.egress or not device.mode else " (inwards only)"
    return f"{printable(device.name)} {device.mode or 'without'}{way}"


def _persistence(service: ServiceStatus) -> str:
    if service.persistence == "none":
        return "none"
    kept = count(service.persistence_records, "record")
    return f"{printable(service.persistence)} {age(service.persistence_timeout_s)}, {kept}"


def _since_start(service: ServiceStatus) -> str:
    traffic = service.traffic
    return f"{count(service.new_sessions, 'session')}, {si(traffic.bytes_in)}B in, {si(traffic.bytes_out)}B out"


def health_words(server: ServerStatus, now_at: float) -> str:
    """What its health is, since when and why; `now_at` is the engine's clock."""
    lasted_s = now_at - server.health_since_at
    since = clock(server.health_since_at)
    if lasted_s < _DAY_S:
        since = time.strftime("%H:%M:%S", time.localtime(server.health_since_at))
    busy = ", demands cookies" if server.busy else ""
    flaps = f", {count(server.flaps, 'change')} in 5 minutes" if server.flaps else ""
    reason = f": {printable(server.health_reason)}" if server.health_reason else ""
    return f"{printable(server.health)} {age(lasted_s)} since {since}{reason}{busy}{flaps}"


def last_probe(server: ServerStatus) -> str:
    """When it was probed last, and how long probes take."""
    if server.last_probe_s is None:
        return "none yet"
    return f"{age(server.last_probe_s)} ago, round trip {round_trip(server.rtt_s)}"


def source_use(server: ServerStatus) -> str:
    """How many sessions share each of its source addresses (snat), the most used ones."""
    shown = [f"{printable(use.address)} {use.sessions}" for use in server.source_use[:_SOURCES_SHOWN]]
    more = len(server.source_use) - _SOURCES_SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def share_words(server: ServerStatus) -> str:
    """Its part of the sessions, and the part it should have by weight."""
    due = f"{100 * server.weighted_share:.0f} % due" if server.weighted_share > 0 else "takes no new ones"
    return f"{100 * server.share:.0f} % of the sessions, {due}"
