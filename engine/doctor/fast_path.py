"""What the fast path does, or would find, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.control.status import EngineStatus
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.prospects import Prospect, Prospects

_LIBBPF: Final = Topic("fast path", "libbpf")
_PROGRAM: Final = Topic("fast path", "bpf")
_DEVICE: Final = Topic("fast path", "device")
_MODE: Final = Topic("fast path", "mode")


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


def judge_prospects(found: Prospects | None, *, privileged: bool) -> Iterator[Diagnosis]:
    """What an engine would find; None: the fast path is not installed."""
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
        yield from _judge_device(device)


def _judge_device(device: Prospect) -> Iterator[Diagnosis]:
    name = device.name
    ill = False
    if device.left_behind:
        ill = True
        yield _DEVICE.warn(
            "an engine that has gone left its fast path on it: tunnels that were established go on, new ones do not "
            "come up",
            name,
            remedy="start the engine again; or if it shall not come back, take everything away",
            command="ikeconsole down",
        )
    if device.other_program:
        ill = True
        yield _DEVICE.warn(
            f"another XDP program ({device.other_program}) is on it and would be left alone: its packets take the "
            "slow path",
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
