"""The watch over the kernel's devices and ways, against a real kernel."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from bpf_objects import ip, private_network, require_bpf
from trio.testing import wait_all_tasks_blocked

from engine.fastpath.interfaces import list_interfaces
from engine.fastpath.neighbours import MOST_AT_ONCE
from engine.fastpath.netlink_watch import SETTLE_S, Change, NetlinkWatch

ROUTES = {Change.ROUTES}
NEIGHBOURS = {Change.NEIGHBOURS}
ALL = set(Change)
QUIET_S = 5 * SETTLE_S
PATIENCE_S = 5.0


@pytest.fixture
def pair() -> Iterator[None]:
    """A network of a veth pair, left and right, up and with an address, where IPv6 makes no noise."""
    require_bpf()
    with private_network():
        ip("link add left type veth peer right")
        for device in ("left", "right"):
            ip(f"link set {device} addrgenmode none")
            ip(f"link set {device} up")
        ip("address add 192.0.2.1/24 dev left")
        ip("neighbour add 192.0.2.8 lladdr 02:00:00:00:00:08 dev left nud reachable")
        yield


async def told(watch: NetlinkWatch) -> frozenset[Change]:
    """What is told next, within seconds."""
    with trio.fail_after(PATIENCE_S):
        return await watch.changed()


async def is_silent(watch: NetlinkWatch) -> bool:
    """Whether nothing is told."""
    with trio.move_on_after(QUIET_S):
        await watch.changed()
        return False
    return True


async def settle(watch: NetlinkWatch) -> None:
    """Wait for the end of what the making of the network has caused."""
    while not await is_silent(watch):
        pass


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("link set right down", ALL),
        ("link set left mtu 1400", ALL),
        ("link del left", ALL),
        ("link add other type veth peer another", ALL),
        ("address add 192.0.2.2/24 dev left", ALL),
        ("address add 2001:db8::1/64 dev left nodad", ALL),
        ("route add 198.51.100.0/24 via 192.0.2.9", ROUTES),
        ("-6 route add 2001:db8:1::/48 dev left", ROUTES),
        ("rule add from 198.51.100.1 lookup 7", ROUTES),
        ("-6 rule add from 2001:db8::1 lookup 7", ROUTES),
        ("nexthop add id 5 dev left", ROUTES),
        ("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev left", NEIGHBOURS),
        ("neighbour add 2001:db8::9 lladdr 02:00:00:00:00:09 dev left", NEIGHBOURS),
    ],
)
async def test_what_changes_is_told(command: str, expected: set[Change]) -> None:
    """Devices and addresses, or only routes, rules, next hops and neighbours, of both families."""
    with NetlinkWatch() as watch:
        await settle(watch)
        ip(command)
        assert await told(watch) == expected


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
async def test_forwarding_switched_on_is_told(family: str) -> None:
    """The program forwards nothing without it, so it counts as a change of the device."""
    with NetlinkWatch() as watch:
        await settle(watch)
        write_forwarding(family, "1")
        assert await told(watch) == ALL


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
async def test_a_neighbour_is_news_only_with_another_mac_address() -> None:
    """That it is stale, or verified again, sends no packet elsewhere; a new MAC address or its end does."""
    known = "neighbour replace 192.0.2.8 dev left lladdr"
    with NetlinkWatch() as watch:
        ip(f"{known} 02:00:00:00:00:08 nud stale")
        await settle(watch)
        for state in ("reachable", "stale"):
            ip(f"{known} 02:00:00:00:00:08 nud {state}")
            assert await is_silent(watch)
        ip(f"{known} 02:00:00:00:00:99 nud stale")
        assert await told(watch) == NEIGHBOURS
        ip("neighbour del 192.0.2.8 dev left")
        assert await told(watch) == NEIGHBOURS


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
async def test_a_burst_is_told_once() -> None:
    """A hundred routes are one change."""
    with NetlinkWatch() as watch:
        await settle(watch)
        batch("route", *(f"10.{number}.0.0/16 via 192.0.2.9" for number in range(100)))
        assert await told(watch) == ROUTES
        assert await is_silent(watch)


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
async def test_what_follows_at_once_is_told_together() -> None:
    """A device that flaps does not have everything looked at twice."""
    with NetlinkWatch() as watch:
        await settle(watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told, watch)
            for setting in ("1", "0"):
                await wait_all_tasks_blocked()
                write_forwarding("ipv4", setting)
        assert await is_silent(watch)


@pytest.mark.usefixtures("pair")
@pytest.mark.trio
async def test_lost_messages_count_as_a_change_of_everything() -> None:
    """More routes than the socket has room for could have been anything else."""
    with NetlinkWatch() as watch:
        await settle(watch)
        batch("route", *(f"10.{high}.{low}.0/24 via 192.0.2.9" for high in range(40) for low in range(256)))
        assert await told(watch) == ALL
        await settle(watch)
        ip("route del 10.0.0.0/24")
        assert await told(watch) == ROUTES


@pytest.mark.usefixtures("pair")
def test_stale_neighbours_are_verified_on_the_devices_in_use() -> None:
    """They leave the stale state by the kernel's own doing; those of other devices stay."""
    ip("address add 192.0.3.1/24 dev right")
    ip("address add 2001:db8::1/64 dev left nodad")
    batch(
        "neighbour",
        "192.0.2.9 lladdr 02:00:00:00:00:09 dev left nud stale",
        "2001:db8::9 lladdr 02:00:00:00:00:09 dev left nud stale",
        "192.0.3.9 lladdr 02:00:00:00:00:09 dev right nud stale",
    )
    with NetlinkWatch() as watch:
        watch.keep_in_use(one for one in list_interfaces().values() if one.name == "left")
    assert states("left") == {"REACHABLE": 1, "DELAY": 2}
    assert states("right") == {"STALE": 1}


@pytest.mark.usefixtures("pair")
def test_a_big_link_is_verified_in_parts() -> None:
    """No burst of more requests than a link takes, and the next time the others' turn."""
    count = MOST_AT_ONCE + 10
    ip("address add 10.0.0.1/16 dev left")
    batch(
        "neighbour",
        *(f"10.0.{1 + place // 250}.{1 + place % 250} lladdr 02:00:00:00:00:09 dev left" for place in range(count)),
        suffix="nud stale",
    )
    with NetlinkWatch() as watch:
        watch.keep_in_use(list_interfaces().values())
        assert states("left") == {"REACHABLE": 1, "DELAY": MOST_AT_ONCE, "STALE": 10}
        watch.keep_in_use(list_interfaces().values())
    assert states("left") == {"REACHABLE": 1, "DELAY": count}


def write_forwarding(family: str, setting: str) -> None:
    """Whether packets that come in by the left device are forwarded."""
    Path(f"/proc/sys/net/{family}/conf/left/forwarding").write_text(setting)


def batch(what: str, *those: str, suffix: str = "") -> None:
    """Add many things of one sort in one go."""
    lines = "\n".join(f"{what} add {one} {suffix}" for one in those)
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True, capture_output=True)


def states(device: str) -> Counter[str]:
    """How many neighbours on a device are in each state."""
    listed = subprocess.run(["ip", "-json", "neighbour", "show", "dev", device], check=True, capture_output=True)
    return Counter(state for neighbour in json.loads(listed.stdout) for state in neighbour["state"])
