"""What the fast path does, or would find, on this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.config.schema import EngineSection
from engine.control.status import EngineStatus
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.paths import state_dir_of
from engine.prospects import Prospect, Prospects
from engine.survival.orphans import orphans
from engine.wording import listed

_LEFT: Final = Topic("fast path", "left-behind")
_LIBBPF: Final = Topic("fast path", "libbpf")
_PROGRAM: Final = Topic("fast path", "bpf")
_DEVICE: Final = Topic("fast path", "device")
_MODE: Final = Topic("fast path", "mode")


@dataclass(frozen=True, slots=True)
class Left:
    """What an engine that has gone left in the kernel."""

    devices: Sequence[str] = ()
    denied: bool = False
    """This user may not look."""


def look_for_left(settings: EngineSection) -> Left:
    """The fast path of an engine with this state directory that runs no more."""
    state_dir = state_dir_of(settings.state_dir)
    try:
        found = orphans(state_dir)
    except OSError:
        return Left(denied=True)
    return Left(found.devices if found else ())


def judge_left(left: Left, config_path: Path) -> Iterator[Diagnosis]:
    """Whether tunnels pass that no engine cares for."""
    if left.denied:
        yield _LEFT.unchecked("whether an engine that has gone left its fast path in the kernel")
    elif left.devices:
        yield _LEFT.warn(
            f"that of an engine that has gone is still on {listed(left.devices)}: data of established tunnels passes "
            "until their ends next have to speak IKE, and new tunnels do not come up",
            remedy="start the engine again; or if it shall not come back, take everything away",
            command=f"ikeconsole down -c {config_path}",
        )
    else:
        yield _LEFT.ok("no engine that has gone left one in the kernel")


def judge_running(engine: EngineStatus) -> Iterator[Diagnosis]:
    """What a running engine says of it; `reason` has its remedy behind the meaning, as the engine words it."""
    if engine.fast_path == "off":
        yield _MODE.warn(f"off: {engine.fast_path_reason}; all data takes the slow path")
        return
    yield _MODE.ok(f"{engine.fast_path}: the kernel forwards {engine.kernel.flows} flows by itself")
    said = set[str]()
    for device in engine.kernel.devices:
        if device.reason:
            said.add(device.reason)
            yield _DEVICE.warn(f"{device.mode or 'not on it'}: {device.reason}", device.name)
        else:
            yield _DEVICE.ok(f"runs in {device.mode} mode", device.name)
    for reason in engine.fast_path_reason.split("; "):
        if reason and not any(reason in told for told in said):
            yield _MODE.warn(reason)


def judge_unwanted(why: str) -> Iterator[Diagnosis]:
    """Of a configuration that leaves nothing to it."""
    yield _MODE.ok(f"not used: {why}")


def judge_prospects(found: Prospects | None, *, privileged: bool, left_on: Collection[str] = ()) -> Iterator[Diagnosis]:
    """What an engine would find; None: the fast path is not installed.

    `left_on` are the devices that an engine which has gone left its program on: the next one takes that over.
    """
    if found is None:
        yield _PROGRAM.warn("this installation has no fast path", remedy="install ikeconsole whole")
        return
    if not found.libbpf:
        yield _LIBBPF.warn(f"{found.failure}; without it all data takes the slow path", command="apt install libbpf1")
        return
    yield _LIBBPF.ok(f"libbpf {found.libbpf}")
    if found.failure and not privileged:
        yield _PROGRAM.unchecked("whether the kernel takes the program, and on which devices")
        return
    if found.failure:
        yield _PROGRAM.warn(f"all data takes the slow path: {found.failure}")
        return
    yield _PROGRAM.ok("the kernel's verifier takes the program")
    if not found.devices:
        yield _DEVICE.warn("no Ethernet device leads to the services or their real servers: it has nothing to do")
    for device in found.devices:
        yield from _judge_device(device, own=device.name in left_on)


def _judge_device(device: Prospect, *, own: bool) -> Iterator[Diagnosis]:
    name = device.name
    ill = False
    if device.program and not own:
        ill = True
        yield _DEVICE.warn(
            f"another XDP program ({device.program}) is on it and would be left alone: its packets take the slow path",
            name,
            remedy="stop what attached it, or if that has ended take it off",
            command=f"ip link set {name} xdp off",
        )
    if device.merges_packets:
        ill = True
        yield _DEVICE.warn(
            "it merges packets as they arrive (LRO), and many drivers refuse native mode with that",
            name,
            command=f"ethtool -K {name} lro off",
        )
    if device.hides_tags:
        ill = True
        yield _DEVICE.warn(
            "it hides VLAN tags from generic mode: where native mode cannot be had, packets take the slow path",
            name,
            command="" if device.kind else f"ethtool -K {name} rxvlan off",
        )
    if not ill:
        wants_gro = device.kind == "veth"
        also = "; native mode takes GRO at its other end: ethtool -K OTHER_END gro on" if wants_gro else ""
        yield _DEVICE.ok(f"the program can go on it; in which mode shows once the engine runs{also}", name)
