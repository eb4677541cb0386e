"""What the kernel tells of its devices and routes, as the fast path understands it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_objects import FORWARD_SOURCE, ip, loaded, private_network, require_bpf

from engine.fastpath import interfaces
from engine.fastpath.bpf import XdpMode
from engine.fastpath.interfaces import Interface, can_receive_redirects, list_interfaces, route_to
from engine.fastpath.netlink import NetlinkError, attribute

ETHERNET = 1


@pytest.fixture
def pair() -> Iterator[None]:
    """A network with nothing in it but a veth pair, left and right, both up."""
    require_bpf()
    with private_network():
        ip("link add left address 02:00:00:00:00:01 mtu 1400 type veth peer right")
        for device in ("lo", "left", "right"):
            ip(f"link set {device} up")
        yield


def found(name: str) -> Interface:
    """The device with a name."""
    return next(interface for interface in list_interfaces().values() if interface.name == name)


@pytest.mark.usefixtures("pair")
def test_a_device_is_told_with_all_that_matters() -> None:
    """Index, name, MAC address, MTU, state and addresses of both families; IPv6 forwarding is not IPv4's."""
    ip("address add 192.0.2.1/24 dev left")
    ip("address add 2001:db8::1/64 dev left nodad")
    Path("/proc/sys/net/ipv6/conf/left/forwarding").write_text("1")
    left = found("left")
    assert (left.name, left.mac, left.mtu_bytes, left.kind) == ("left", "02:00:00:00:00:01", 1400, "veth")
    assert list_interfaces()[left.index] == left
    assert left.is_ethernet
    assert {"192.0.2.1", "2001:db8::1"} <= set(left.addresses)
    assert (left.lower_index, left.vlan, left.xdp_program_id) == (left.index, None, None)
    assert (left.forwards_v4, left.forwards_v6) == (False, True)


@pytest.mark.usefixtures("pair")
def test_forwarding_of_ipv4_is_told() -> None:
    """Switched on for one device, it is on there and nowhere else."""
    Path("/proc/sys/net/ipv4/conf/left/forwarding").write_text("1")
    assert (found("left").forwards_v4, found("left").forwards_v6) == (True, False)
    assert not found("right").forwards_v4


@pytest.mark.usefixtures("pair")
def test_a_device_without_a_carrier_is_not_up() -> None:
    """Switched on is not enough: the other end of the cable must be, too."""
    assert found("left").up
    ip("link set right down")
    assert not found("left").up
    assert not found("right").up


@pytest.mark.usefixtures("pair")
def test_loopback_is_no_ethernet() -> None:
    """It has the hardware type of none."""
    assert not found("lo").is_ethernet


@pytest.mark.usefixtures("pair")
def test_the_address_of_the_other_end_is_not_ours() -> None:
    """A point-to-point address names two hosts."""
    ip("address add 192.0.2.1 peer 192.0.2.9 dev left")
    assert "192.0.2.1" in found("left").addresses
    assert "192.0.2.9" not in found("left").addresses


def test_an_attached_xdp_program_is_told(tmp_path: Path) -> None:
    """In either mode, and no longer when it is gone."""
    with loaded(FORWARD_SOURCE, tmp_path) as opened, private_network():
        ip("link add left type veth peer right")
        program = opened.program("forward")
        for mode in XdpMode:
            with program.attach_xdp(found("left").index, mode):
                assert found("left").xdp_program_id == program.id
        assert found("left").xdp_program_id is None


@pytest.mark.parametrize(
    ("protocol", "elsewhere", "expected"),
    [
        (b"\x81\x00", b"", (7, 3)),
        (b"\x88\xa8", b"", (None, 9)),
        (b"\x81\x00", attribute(37, bytes(4)), (None, 9)),
    ],
    ids=["802.1Q", "802.1ad", "below is in another namespace"],
)
def test_only_8021q_tags_are_ours_to_write(
    monkeypatch: pytest.MonkeyPatch, protocol: bytes, elsewhere: bytes, expected: tuple[int | None, int]
) -> None:
    """Frames go straight to the device below only where the program can write the tag and can reach it."""
    vlan = attribute(1, struct.pack("=H", 7)) + attribute(5, protocol)
    details = attribute(18, attribute(1, b"vlan\0") + attribute(2, vlan))
    fixed = struct.pack("=BxHiII", 0, ETHERNET, 9, 0x10001, 0)
    link = fixed + attribute(3, b"office\0") + attribute(4, struct.pack("=I", 1500)) + attribute(5, b"\3\0\0\0")
    answers = iter([[link + details + elsewhere], []])
    monkeypatch.setattr(interfaces.Netlink, "ask", lambda *_: next(answers))
    office = list_interfaces()[9]
    assert (office.vlan, office.lower_index) == expected


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("address", "device"),
    [
        ("192.0.2.9", "left"),
        ("198.51.100.1", "right"),
        ("2001:db8::9", "left"),
        ("192.0.2.1", None),
        ("203.0.113.1", None),
        ("198.18.0.1", None),
        ("2001:db8:bad::1", None),
        ("2001:db8:1::1", None),
    ],
)
def test_a_route_names_the_device(address: str, device: str | None) -> None:
    """On the link, behind a gateway; none to this machine's own addresses, into black holes, or without a route."""
    for command in (
        "address add 192.0.2.1/24 dev left",
        "address add 192.0.3.1/24 dev right",
        "address add 2001:db8::1/64 dev left nodad",
        "route add 198.51.100.0/24 via 192.0.3.9",
        "route add blackhole 203.0.113.0/24",
        "route add unreachable 2001:db8:bad::/48",
    ):
        ip(command)
    assert route_to(address) == (found(device).index if device else None)


@pytest.mark.usefixtures("pair")
def test_a_veth_takes_redirected_frames_while_its_peer_has_gro() -> None:
    """The kernel's word on it follows the other end's setting at once."""
    answers = []
    for setting in ("off", "on", "off"):
        subprocess.run(["ethtool", "-K", "right", "gro", setting], check=True, capture_output=True)
        answers.append(can_receive_redirects(found("left").index))
    assert answers == [False, True, False]


def test_a_veth_takes_redirected_frames_while_its_peer_has_a_program(tmp_path: Path) -> None:
    """A native program at the other end does as well as GRO."""
    with loaded(FORWARD_SOURCE, tmp_path) as opened, private_network():
        ip("link add left type veth peer right")
        left = found("left").index
        assert can_receive_redirects(left) is False
        with opened.program("forward").attach_xdp(found("right").index, XdpMode.NATIVE):
            assert can_receive_redirects(left) is True


@pytest.mark.usefixtures("pair")
def test_of_a_device_that_is_not_there_nothing_is_known() -> None:
    """Neither yes nor no."""
    assert can_receive_redirects(99) is None


def test_an_older_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 6.3 there is no such question."""

    def refuse(*_: object) -> list[bytes]:
        raise NetlinkError(2)

    monkeypatch.setattr(interfaces.Netlink, "ask", refuse)
    assert can_receive_redirects(1) is None
