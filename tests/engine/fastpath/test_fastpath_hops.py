"""The way that forwarded frames take: devices, VLAN tags, next hops, MTUs, and what happens where there is no way."""

from __future__ import annotations

import ctypes
import socket
from dataclasses import replace

import pytest
from bpf_objects import ip
from fastpath_world import (
    CLIENT,
    ESP,
    HOP_AGE_SHIFT,
    LAN,
    LAN_20_SERVER,
    NARROW_MTU_BYTES,
    NARROW_SERVER,
    NEAR_SERVER,
    ROUTER,
    SERVER,
    SILENT_SERVER,
    UNFIT_SERVER,
    UNREACHABLE_SERVER,
    WAN,
    WAN_10_HOST,
    Device,
    Direction,
    Family,
    Host,
    Verdict,
    World,
    passed_up,
    sent,
    set_forwarding,
    to_client,
    to_server,
)

from engine.fastpath import libbpf
from engine.fastpath.layout import NO_VLAN, Reason, tick_now

families = pytest.mark.parametrize("family", list(Family))
DEVICE_MTU_BYTES = 1500
HEADERS_BYTES = {Family.V4: 20 + 8, Family.V6: 40 + 8}
HOP_AGE_MASK = 0xFF
HALF_OF_ALL_AGES = 0x80
MOST_METADATA_BYTES = 216
"""All the room before a frame in a test run, but for what the kernel keeps there."""
ATTEMPTS = 5
DSCP = 0x10
OTHER_TABLE = 100


def filling(family: Family, size_bytes: int) -> bytes:
    """ESP that makes IP packets of a size."""
    return ESP[:8] + bytes(size_bytes - HEADERS_BYTES[family] - 8)


def forwards(world: World, direction: Direction, payload: bytes = ESP) -> bool:
    outcome = world.run(direction.frame(payload), direction.came_from.device)
    return outcome == sent(direction.forwarded(payload))


def passes_up(world: World, direction: Direction, reason: Reason, payload: bytes = ESP) -> bool:
    frame = bytes(direction.frame(payload))
    return world.run(frame, direction.came_from.device) == passed_up(frame, reason)


def age_of_hops() -> int:
    """What the time contributes to the epoch of next hops that are found now."""
    return tick_now() >> HOP_AGE_SHIFT & HOP_AGE_MASK


def replace_neighbour(family: Family, host: Host, mac: str) -> None:
    ip(f"neighbour replace {family.of(host)} lladdr {mac} dev {host.device.name} nud permanent")


@families
@pytest.mark.parametrize("client", [CLIENT, WAN_10_HOST], ids=["untagged-client", "tagged-client"])
@pytest.mark.parametrize("server", [SERVER, LAN_20_SERVER], ids=["untagged-server", "tagged-server"])
def test_tags_are_those_of_the_way_out(shared_world: World, family: Family, client: Host, server: Host) -> None:
    """ESP comes untagged or tagged, both ways: it leaves with the tag of the device that it must leave by, or none."""
    for direction in (to_server(family, server, client), to_client(family, server, client)):
        shared_world.install(direction)
        assert forwards(shared_world, direction)
        device = direction.goes_to.device
        hop = shared_world.flow(direction)
        assert (hop.port, hop.vlan) == (device.port, NO_VLAN if device.vlan is None else device.vlan)


@families
@pytest.mark.parametrize("server", [NEAR_SERVER, WAN_10_HOST], ids=["same-device", "its-vlan"])
def test_frames_may_leave_by_the_device_they_came_in_by(shared_world: World, family: Family, server: Host) -> None:
    """A single-arm balancer, both ways: ESP leaves through the port of the device that it came in by."""
    for direction in (to_server(family, server), to_client(family, server)):
        shared_world.install(direction)
        assert forwards(shared_world, direction)
        assert shared_world.flow(direction).port == WAN.port


@families
def test_a_tag_that_finds_no_room_is_passed_up(shared_world: World, family: Family) -> None:
    """ESP that must leave tagged, with no room before the frame: passed up; with no tag needed it is forwarded."""
    tagged = shared_world.install(to_server(family, LAN_20_SERVER))
    frame = bytes(tagged.frame())
    before = shared_world.forwarding.passed_up()
    assert run_without_room(shared_world, frame, WAN) == (Verdict.PASS, frame)
    assert shared_world.forwarding.passed_up() - before == {Reason.NO_HEADROOM: 1}

    plain = shared_world.install(to_server(family))
    assert run_without_room(shared_world, frame, WAN) == (Verdict.REDIRECT, bytes(plain.forwarded()))


def run_without_room(world: World, frame: bytes, device: Device) -> tuple[int, bytes]:
    """Run over a frame before which metadata takes all the room that the kernel has for headers."""
    context = libbpf.XdpContext(
        data=MOST_METADATA_BYTES,
        data_end=MOST_METADATA_BYTES + len(frame),
        ingress_ifindex=socket.if_nametoindex(device.name),
    )
    data = ctypes.create_string_buffer(bytes(MOST_METADATA_BYTES) + frame)
    options = libbpf.RunOptions(
        sz=ctypes.sizeof(libbpf.RunOptions),
        data_in=data.raw[:-1],
        data_size_in=len(data) - 1,
        data_out=ctypes.addressof(data),
        data_size_out=len(data),
        ctx_in=ctypes.addressof(context),
        ctx_size_in=ctypes.sizeof(context),
        repeat=1,
    )
    answer = libbpf.library().bpf_prog_test_run_opts(world.forwarding.program.fd, ctypes.byref(options))
    assert answer == 0
    return options.retval, data.raw[MOST_METADATA_BYTES : options.data_size_out]


@families
@pytest.mark.parametrize(
    ("server", "mtu_bytes"),
    [(SERVER, DEVICE_MTU_BYTES), (LAN_20_SERVER, DEVICE_MTU_BYTES), (NARROW_SERVER, NARROW_MTU_BYTES)],
    ids=["device", "vlan", "route"],
)
def test_only_what_fits_the_way_is_forwarded(shared_world: World, family: Family, server: Host, mtu_bytes: int) -> None:
    """A packet as large as the way's MTU: forwarded. A byte more: passed up, for the kernel to say what would fit."""
    direction = shared_world.install(to_server(family, server))
    assert passes_up(shared_world, direction, Reason.OVERSIZE, filling(family, mtu_bytes + 1))
    assert forwards(shared_world, direction, filling(family, mtu_bytes))
    assert passes_up(shared_world, direction, Reason.OVERSIZE, filling(family, mtu_bytes + 1))
    assert shared_world.flow(direction).packets == 1


@families
@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (UNREACHABLE_SERVER, Reason.NO_ROUTE),
        (SILENT_SERVER, Reason.NO_NEIGHBOUR),
        (UNFIT_SERVER, Reason.NO_PORT),
    ],
    ids=["no-route", "no-neighbour", "no-port"],
)
def test_without_a_way_out_the_kernel_is_asked(
    shared_world: World, family: Family, server: Host, reason: Reason
) -> None:
    """No route, no MAC address, or a device that takes no redirected frames: passed up, each time."""
    direction = shared_world.install(to_server(family, server))
    assert passes_up(shared_world, direction, reason)
    assert passes_up(shared_world, direction, reason)
    assert shared_world.flow(direction).packets == 0


@families
def test_what_the_kernel_may_not_forward_is_passed_up(fresh_world: World, family: Family) -> None:
    """Forwarding is off where ESP comes in: passed up; where it is on, the other way, forwarded."""
    there, back = fresh_world.install(to_server(family)), fresh_world.install(to_client(family))
    set_forwarding(WAN, on=False)
    assert passes_up(fresh_world, there, Reason.NO_FORWARDING)
    assert forwards(fresh_world, back)
    set_forwarding(WAN, on=True)
    assert forwards(fresh_world, there)


@families
def test_a_neighbour_that_is_found_is_used_at_once(fresh_world: World, family: Family) -> None:
    """No MAC address at first: passed up. Once the kernel has one: forwarded, without anybody's doing."""
    direction = fresh_world.install(to_server(family, SILENT_SERVER))
    assert passes_up(fresh_world, direction, Reason.NO_NEIGHBOUR)
    replace_neighbour(family, SILENT_SERVER, SILENT_SERVER.mac)
    assert forwards(fresh_world, direction)


@families
def test_a_next_hop_is_kept_until_the_program_must_look_again(fresh_world: World, family: Family) -> None:
    """The real server's MAC address changes: the old one is used until the engine says that something has changed."""
    direction = fresh_world.install(to_server(family))
    for attempt in range(ATTEMPTS):
        replace_neighbour(family, SERVER, SERVER.mac)
        fresh_world.forwarding.look_again()
        assert forwards(fresh_world, direction)
        kept = fresh_world.flow(direction)
        replace_neighbour(family, SERVER, f"02:00:00:00:99:{attempt:02x}")
        with_old_mac = forwards(fresh_world, direction)
        if fresh_world.flow(direction).epoch == kept.epoch:
            break  # else it grew old meanwhile, as next hops do every nine seconds
    assert with_old_mac
    assert kept.hop_destination.hex(":") == SERVER.mac

    fresh_world.forwarding.look_again()
    assert not forwards(fresh_world, direction)
    assert fresh_world.flow(direction).hop_destination.hex(":") == f"02:00:00:00:99:{attempt:02x}"


@families
def test_an_old_next_hop_is_looked_up_again(shared_world: World, family: Family) -> None:
    """A next hop from long ago whose MAC address is wrong by now: the right one is used, though nobody said so."""
    direction = shared_world.install(to_server(family))
    ages = {age_of_hops()}
    assert forwards(shared_world, direction)
    epoch = shared_world.flow(direction).epoch
    assert epoch & HOP_AGE_MASK in ages | {age_of_hops()}
    shared_world.set_hop(direction, mac=CLIENT.mac, epoch=epoch ^ HALF_OF_ALL_AGES)
    assert forwards(shared_world, direction)


@families
def test_a_route_that_is_gone_takes_its_flows_along(fresh_world: World, family: Family) -> None:
    """ESP had a way, which is withdrawn: passed up once the program looks again, forwarded when the way is back."""
    direction = fresh_world.install(to_server(family))
    assert forwards(fresh_world, direction)
    host = f"{family.of(SERVER)}/{32 if family is Family.V4 else 128}"
    ip(f"route add unreachable {host} metric 1")
    fresh_world.forwarding.look_again()
    assert passes_up(fresh_world, direction, Reason.NO_ROUTE)
    assert passes_up(fresh_world, direction, Reason.NO_ROUTE)
    ip(f"route delete unreachable {host} metric 1")
    assert forwards(fresh_world, direction)
    assert fresh_world.flow(direction).packets == 2


@families
def test_routes_by_type_of_service_are_followed(fresh_world: World, family: Family) -> None:
    """A rule has packets with a certain DSCP take another way: ESP of a flow that has this DSCP leaves by that."""
    direction = fresh_world.install(to_server(family))
    option = "-4" if family is Family.V4 else "-6"
    ip(f"{option} rule add dsfield {DSCP:#x} lookup {OTHER_TABLE}")
    ip(f"{option} route add default via {family.of(ROUTER)} table {OTHER_TABLE}")
    expected = replace(direction, goes_to=ROUTER).forwarded(tos=DSCP)
    assert fresh_world.run(direction.frame(tos=DSCP)) == sent(expected)
    assert forwards(fresh_world, fresh_world.install(direction))


@families
def test_an_egress_taken_back_is_not_used(fresh_world: World, family: Family) -> None:
    """The engine finds a device unfit that frames left by: passed up once the program looks again."""
    direction = fresh_world.install(to_server(family))
    assert forwards(fresh_world, direction)
    fresh_world.forwarding.remove_egress(socket.if_nametoindex(LAN.name))
    fresh_world.forwarding.look_again()
    assert passes_up(fresh_world, direction, Reason.NO_PORT)


@families
def test_frames_for_a_port_without_device_are_dropped(fresh_world: World, family: Family) -> None:
    """A port is emptied while flows still have it: dropped, and counted as such; filled again: forwarded."""
    assert LAN.port is not None
    direction = fresh_world.install(to_server(family))
    fresh_world.forwarding.set_port(LAN.port, None)
    outcome = fresh_world.run(direction.frame())
    assert (outcome.verdict, outcome.reasons) == (Verdict.DROP, {Reason.PORT_GONE: 1})
    assert fresh_world.flow(direction).packets == 0, "what was dropped is not counted as carried"
    fresh_world.forwarding.set_port(LAN.port, socket.if_nametoindex(LAN.name))
    assert forwards(fresh_world, direction)


def test_a_device_that_is_gone_leaves_its_port_empty(fresh_world: World) -> None:
    """Frames would leave through the port of a device that is taken out of the machine: dropped, and counted."""
    assert LAN.port is not None
    direction = fresh_world.install(to_server(Family.V4, NEAR_SERVER))
    fresh_world.forwarding.set_egress(socket.if_nametoindex(WAN.name), LAN.port, None)
    ip(f"link delete {LAN.name}")
    outcome = fresh_world.run(direction.frame())
    assert (outcome.verdict, outcome.reasons) == (Verdict.DROP, {Reason.PORT_GONE: 1})
