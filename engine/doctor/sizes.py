"""What size of packets passes: MTU of the devices on the way, and fragments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.config.schema import Config
from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.network import Device, Network
from engine.telemetry.reassembly import reassembly_failures
from engine.wording import count

IPV6_LEAST_BYTES: Final = 1280
"""RFC 8200 section 5."""
IKE_AUTH_BYTES: Final = 4096
"""An IKE_AUTH with a chain of certificates, without IKE fragmentation."""

_MTU: Final = Topic("network", "mtu")
_FRAGMENTS: Final = Topic("network", "fragments")


@dataclass(frozen=True, slots=True)
class Fragments:
    """How the kernel deals with fragments."""

    incomplete: int = 0
    """Datagrams of which fragments never came."""
    room_bytes: int | None = 4 << 20
    """What may wait for its other fragments."""
    no_pmtu_disc: int | None = 0
    """The sysctl ip_no_pmtu_disc."""


def look_at_fragments() -> Fragments:
    """Read the kernel's counters and settings."""
    return Fragments(
        incomplete=reassembly_failures(),
        room_bytes=procfs.sysctl("net/ipv4/ipfrag_high_thresh"),
        no_pmtu_disc=procfs.sysctl("net/ipv4/ip_no_pmtu_disc"),
    )


def judge_mtu(config: Config, network: Network) -> Iterator[Diagnosis]:
    """Whether what comes in by one device fits into the others."""
    used = network.on_the_way(config)
    devices = {device.name: device for device, _ in used}
    with_ipv6 = {device.name for device, version in used if version == 6}
    largest = max([*devices.values(), Device("", 0)], key=lambda device: device.mtu_bytes)
    for name, device in devices.items():
        if name in with_ipv6 and device.mtu_bytes < IPV6_LEAST_BYTES:
            yield _MTU.fail(
                f"{device.mtu_bytes} bytes: IPv6 does not work below {IPV6_LEAST_BYTES}",
                name,
                command=f"ip link set {name} mtu {IPV6_LEAST_BYTES}",
            )
        elif device.mtu_bytes < largest.mtu_bytes:
            yield _MTU.warn(
                f"{device.mtu_bytes} bytes, but {largest.mtu_bytes} on {largest.name}: bigger packets of tunnels "
                "are fragmented, on the slow path",
                name,
                remedy="make them alike, if the network behind it allows",
                command=f"ip link set {name} mtu {largest.mtu_bytes}",
            )
        else:
            yield _MTU.ok(f"{device.mtu_bytes} bytes", name)


def judge_fragments(found: Fragments) -> Iterator[Diagnosis]:
    """Whether a big IKE_AUTH gets through in fragments."""
    ill = False
    if found.room_bytes is not None and found.room_bytes < IKE_AUTH_BYTES:
        ill = True
        yield _FRAGMENTS.fail(
            f"the kernel keeps {found.room_bytes} bytes for fragments: big IKE_AUTH messages are lost (error 809)",
            command="sysctl -w net.ipv4.ipfrag_high_thresh=4194304",
        )
    if found.no_pmtu_disc == 1:
        ill = True
        yield _FRAGMENTS.warn(
            "ip_no_pmtu_disc is 1: after one ICMP error of a router all packets to a server are cut to 552 bytes",
            command="sysctl -w net.ipv4.ip_no_pmtu_disc=0",
        )
    if found.incomplete:
        ill = True
        yield _FRAGMENTS.warn(
            f"{count(found.incomplete, 'datagram')} came incomplete since boot: fragments are lost on the way here, "
            "and with them big IKE_AUTH messages (error 809)",
            remedy="enable IKEv2 fragmentation at clients and servers (`ikeconsole advise` says how), or see that "
            "firewalls on the way pass fragments",
        )
    if not ill:
        yield _FRAGMENTS.ok("the kernel puts fragments together, and none was missed")
