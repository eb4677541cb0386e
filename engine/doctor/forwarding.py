"""Whether the kernel forwards packets between devices, which the fast path asks of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.config.schema import Config
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import transparent_services
from engine.doctor.network import Network
from engine.doctor.rp_filter import command_for

_TOPIC: Final = Topic("network", "forwarding")


def judge_forwarding(config: Config, network: Network) -> Iterator[Diagnosis]:
    """Each device on the way, for each IP version that services use it in."""
    versions = {service.address.version for service in transparent_services(config)}
    for device, version in network.on_the_way(config):
        if device.forwards[version]:
            yield _TOPIC.ok(f"IPv{version} is forwarded", device.name)
            continue
        stranded = (
            ", and what real servers send elsewhere through this machine, their default gateway, is lost"
            if version in versions
            else ""
        )
        yield _TOPIC.warn(
            f"IPv{version} is not forwarded: tunnels get no fast path here{stranded}",
            device.name,
            command=command_for(device.name, "forwarding", 1, "ipv6" if version == 6 else "ipv4"),
        )
