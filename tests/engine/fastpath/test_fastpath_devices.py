"""Which devices get the program, and by which its frames may leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from bpf_objects import ip, private_network, require_bpf
from netaddr import IPAddress

from engine.config.schema import Config, RealServer, Service
from engine.fastpath.attachments import Attachment
from engine.fastpath.bpf import XdpMode
from engine.fastpath.devices import Egresses, can_answer, wanted_devices
from engine.fastpath.interfaces import Interface, list_interfaces
from engine.fastpath.layout import EGRESS, MAX_EGRESSES, MAX_PORTS, NO_VLAN
from engine.fastpath.program import ForwardingProgram

VIP = "203.0.113.10"
SERVER = "10.0.0.11"


def device(index: int, *addresses: str, kind: str = "", is_ethernet: bool = True, below: int = 0) -> Interface:
    """A device that is up; `below` is the one that carries it, if it is a VLAN device."""
    return Interface(
        index=index,
        name=f"dev{index}",
        mac="02:00:00:00:00:01" if is_ethernet else "",
        mtu_bytes=1500,
        up=True,
        is_ethernet=is_ethernet,
        lower_index=below or index,
        vlan=index if below else None,
        addresses=addresses,
        forwards_v4=True,
        forwards_v6=True,
        xdp_program_id=None,
        kind=kind,
    )


LOOPBACK = device(1, "127.0.0.1", is_ethernet=False)
WAN = device(2, "198.51.100.1")
LAN = device(3, "10.0.0.1")
OTHER = device(4, "192.0.2.1")
BARE = device(5)


def config(*addresses: str, server: str = SERVER, snat: tuple[str, ...] = ()) -> Config:
    """A service for each address."""
    servers = [RealServer(name="a", address=IPAddress(server))]
    return Config(
        services=[
            Service(name=address, address=IPAddress(address), snat_addresses=list(snat), real_servers=servers)
            for address in addresses
        ]
    )


def wanted(of: Config, *devices: Interface) -> set[int]:
    """What gets the program where real servers are reached by the LAN device."""
    interfaces = {one.index: one for one in devices}
    return set(wanted_devices(of, interfaces, lambda address: LAN.index if address == SERVER else None))


def test_the_address_s_device_and_the_servers_and_no_other() -> None:
    """The device of the service's address, and that by which its real server is reached."""
    assert wanted(config(WAN.addresses[0]), LOOPBACK, WAN, LAN, OTHER) == {WAN.index, LAN.index}


@pytest.mark.parametrize(
    "holder",
    [device(9, VIP, is_ethernet=False), device(9, VIP, kind="dummy"), device(9, VIP, kind="vrf")],
    ids=["loopback", "dummy", "vrf"],
)
def test_an_address_on_a_device_without_frames_is_reached_by_any_other(holder: Interface) -> None:
    """Its packets come in by any device that has an address; the holder itself gets no program."""
    assert wanted(config(VIP), holder, WAN, LAN, OTHER, BARE) == {WAN.index, LAN.index, OTHER.index}


def test_an_address_on_two_devices_is_reached_by_both() -> None:
    """The one listed later does not stand for the other."""
    twin = device(7, WAN.addresses[0])
    assert wanted(config(WAN.addresses[0]), WAN, twin, LAN) == {WAN.index, twin.index, LAN.index}


def test_a_service_on_a_loopback_address_wants_no_device() -> None:
    """Its clients are on this machine, wherever its real servers are; another service gets its own devices only."""
    assert wanted(config("127.0.0.1"), LOOPBACK, WAN, LAN) == set()
    both = config("127.0.0.1", WAN.addresses[0], server="10.9.9.9")
    assert wanted(both, LOOPBACK, WAN, LAN, OTHER) == {WAN.index}


def test_snat_addresses_want_their_devices() -> None:
    """Answers come in by these."""
    assert wanted(config(WAN.addresses[0], snat=(OTHER.addresses[0],)), WAN, LAN, OTHER) == {2, 3, 4}


@pytest.fixture
def _network() -> Iterator[None]:
    """Two veth pairs: left0, right0, left1 and right1."""
    require_bpf()
    with private_network():
        for number in (0, 1):
            ip(f"link add left{number} type veth peer right{number}")
        yield


@pytest.fixture
def program(_network: None) -> Iterator[ForwardingProgram]:
    """The program, whose ports are devices of a private network."""
    loaded = ForwardingProgram(max_sessions=16)
    yield loaded
    loaded.close()


class Recorded:
    """Takes the program's place, to see what it was told."""

    def __init__(self, program: ForwardingProgram) -> None:
        self.ports: dict[int, int | None] = {}
        self.egresses: dict[int, bytes] = {}
        self._program = program

    def set_port(self, port: int, index: int | None) -> None:
        self._program.set_port(port, index)
        self.ports[port] = index

    def set_egress(self, index: int, port: int, vlan: int | None) -> None:
        self._program.set_egress(index, port, vlan)
        self.egresses[index] = EGRESS.pack(port, NO_VLAN if vlan is None else vlan)

    def remove_egress(self, index: int) -> None:
        self._program.remove_egress(index)
        del self.egresses[index]


def index_of(name: str) -> int:
    """The device's index."""
    return next(one.index for one in list_interfaces().values() if one.name == name)


def test_a_device_that_has_just_gone_is_left_out(program: ForwardingProgram) -> None:
    """It was there when the kernel was asked; the others get their ports, and it too when it is there again."""
    seen = Recorded(program)
    egresses = Egresses(seen)  # type: ignore[arg-type]
    left = index_of("left0")
    gone = left + 1_000
    egresses.follow([left, gone], {left: device(left), gone: device(gone)})
    assert [index for index in seen.ports.values() if index] == [left]
    assert set(seen.egresses) == {left}
    ip(f"link add again index {gone} type veth peer peer")
    egresses.follow([left, gone], {left: device(left), gone: device(gone)})
    assert set(seen.egresses) == {left, gone}


def test_ports_are_opened_again_however_often_devices_are_followed(program: ForwardingProgram) -> None:
    """The kernel closes the port of a device that goes, which may be back under its index before anybody looks."""
    seen = Recorded(program)
    egresses = Egresses(seen)  # type: ignore[arg-type]
    left = index_of("left0")
    for _ in range(2):
        egresses.follow([left], {left: device(left)})
        assert list(seen.ports.values()) == [left]
        seen.ports.clear()


def test_a_port_is_another_device_s_only_after_all_others_were(program: ForwardingProgram) -> None:
    """A flow goes on using the port that it found for a moment: it should lead nowhere then."""
    seen = Recorded(program)
    egresses = Egresses(seen)  # type: ignore[arg-type]
    left, right = index_of("left0"), index_of("right0")
    egresses.follow([left], {left: device(left)})
    egresses.follow([right], {right: device(right)})
    assert {index: port for port, index in seen.ports.items()} == {None: 0, right: 1}


def test_more_vlan_devices_than_there_is_room_for_stay_on_the_slow_path(program: ForwardingProgram) -> None:
    """As many as one trunk can carry fit, and more than that break nothing."""
    seen = Recorded(program)
    egresses = Egresses(seen)  # type: ignore[arg-type]
    trunk = index_of("left0")
    above = {number: device(number, below=trunk) for number in range(10_000, 10_000 + MAX_EGRESSES)}
    egresses.follow([trunk], {trunk: device(trunk)} | above)
    assert len(seen.egresses) == MAX_EGRESSES >= MAX_PORTS + 4_094


@pytest.mark.parametrize(
    ("mode", "egress", "carries_vlans", "answers"),
    [
        (XdpMode.NATIVE, True, False, True),
        (XdpMode.GENERIC, True, True, True),
        (None, False, True, True),
        (XdpMode.NATIVE, False, False, False),
        (XdpMode.NATIVE, True, True, False),
    ],
    ids=["native", "generic", "without program", "frames do not get out", "tags may be hidden"],
)
def test_requests_are_answered_where_answers_get_back_as_they_came(
    mode: XdpMode | None, egress: bool, carries_vlans: bool, answers: bool
) -> None:
    """One device where they do not is enough for all to be left to the slow path."""
    interfaces = {2: WAN, 3: replace(LAN, kind="veth", carries_vlans=carries_vlans)}
    attached = [
        Attachment(name="wan", index=2, mode=XdpMode.NATIVE, egress=True, reason=""),
        Attachment(name="lan", index=3, mode=mode, egress=egress, reason=""),
    ]
    assert can_answer(attached, interfaces) is answers
