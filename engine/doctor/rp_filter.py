"""The kernel's reverse path filter (ip-sysctl, rp_filter): packets that it drops the engine never sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.config.schema import Config
from engine.doctor import procfs
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.doctor.needs import transparent_services
from engine.doctor.network import LOOPBACK, Network
from engine.wording import count

OFF: Final = 0
STRICT: Final = 1

_TOPIC: Final = Topic("network", "rp-filter")
_MARK: Final = Topic("network", "src-valid-mark")
_WORDS: Final = {OFF: "off", STRICT: "strict", 2: "loose"}


def dropped_by_filter() -> int:
    """Packets that it dropped since the network namespace was made (proc(5), /proc/net/netstat); 0: unknown."""
    lines = [line.split() for line in (procfs.text("net/netstat") or "").splitlines() if line.startswith("IpExt:")]
    names, values = [*lines, [], []][:2]
    return int(values[names.index("IPReversePathFilter")]) if "IPReversePathFilter" in names else 0


def judge_rp_filter(config: Config, network: Network, dropped: int) -> Iterator[Diagnosis]:
    """Whether a device drops packets of clients or real servers; `dropped` is how many there were, on any."""
    transparent = bool(transparent_services(config))
    so_far = f"; {count(dropped, 'packet')} so far, over all devices" if dropped else ""
    for device, version in network.on_the_way(config):
        if version != 4 or device.rp_filter is None:
            continue
        remedy = command_for(device.name, "rp_filter", 2)
        if device.rp_filter != STRICT:
            yield _TOPIC.ok(_WORDS.get(device.rp_filter, str(device.rp_filter)), device.name)
        elif other := _elsewhere(network, device.addresses):
            yield _TOPIC.fail(
                f"strict, while packets to clients leave by {other}: what clients send comes in here and is dropped "
                f"before the engine sees it (error 809){so_far}",
                device.name,
                command=remedy,
            )
        elif transparent or dropped:
            yield _TOPIC.warn(
                "strict: packets of clients and real servers that would be answered by another device are dropped "
                f"before the engine sees them{so_far}",
                device.name,
                command=remedy,
            )
        else:
            yield _TOPIC.ok("strict, and each way back is the way there", device.name)
        if transparent and device.src_valid_mark:
            yield _MARK.fail(
                "src_valid_mark is on: answers of real servers to their clients are dropped as they come in "
                "(VPN software such as wg-quick sets it)",
                device.name,
                command=command_for("all", "src_valid_mark", 0) + f"; {command_for(device.name, 'src_valid_mark', 0)}",
            )


def command_for(device: str, setting: str, value: int, family: str = "ipv4") -> str:
    """What gives a device a setting until the next boot; a name with a dot needs the other spelling of sysctl(8)."""
    between = "/" if "." in device else "."
    return f"sysctl -w {between.join(['net', family, 'conf', device, setting])}={value}"


def _elsewhere(network: Network, addresses: tuple[str, ...]) -> str:
    """The other device by which a service of these addresses answers clients; empty: there is none."""
    for address in addresses:
        way = network.to_clients.get(address)
        holder = network.device_with(address)
        if way is not None and holder is not None and way.device != holder.name and way.device != LOOPBACK:
            return way.device
    return ""
