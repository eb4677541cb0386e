"""BPF objects and programs: loaded, run over packets, put on devices and taken off."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_objects import CARELESS_SOURCE, FORWARD_SOURCE, PROBE_SOURCE, build, ip, loaded, private_network, require_bpf

from engine.fastpath.bpf import BpfError, Object, Program, XdpMode, attached_program

PACKET = bytes(range(60))
XDP_DROP, XDP_PASS, XDP_TX = 1, 2, 3


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Object]:
    with loaded(PROBE_SOURCE, tmp_path_factory.mktemp("probe")) as opened:
        yield opened


@pytest.fixture
def veth(probe: Object) -> Iterator[tuple[int, int]]:
    """The indexes of two devices, near and far, that are one cable in a network of their own, and silent."""
    with private_network():
        ip("link add near type veth peer name far")
        for name in ("near", "far"):
            ip(f"link set {name} addrgenmode none up")
        yield socket.if_nametoindex("near"), socket.if_nametoindex("far")


def counted(probe: Object) -> int:
    return sum(int.from_bytes(one, "little") for one in probe.map("seen").lookup_each_cpu(struct.pack("=I", 1)))


def test_forwarding_program_loads(tmp_path: Path) -> None:
    """The kernel takes the program of the fast path, which passes up what is not IP."""
    with loaded(FORWARD_SOURCE, tmp_path) as opened:
        ran = opened.program("forward").run(PACKET)

    assert (ran.verdict, ran.data) == (XDP_PASS, PACKET)


def test_run_shows_the_packet_afterwards(probe: Object) -> None:
    """A run answers with the verdict and the packet as the program left it, longer than before as well."""
    ran = probe.program("grow").run(PACKET)

    assert ran.verdict == XDP_PASS
    assert ran.data[4:] == PACKET


def test_run_has_room_for_as_much_as_is_said(probe: Object) -> None:
    """A packet that grows out of its room is an error, not memory written past its end."""
    assert len(probe.program("grow").run(PACKET, room_bytes=4).data) == 64
    with pytest.raises(BpfError, match="cannot run the BPF program grow"):
        probe.program("grow").run(PACKET, room_bytes=3)


def test_run_comes_in_by_the_device_said(probe: Object, veth: tuple[int, int]) -> None:
    """The program sees the index of the device that a test names."""
    near, far = veth
    which = probe.program("which_device")

    assert which.run(PACKET, ingress_ifindex=near).verdict == near
    assert which.run(PACKET, ingress_ifindex=far).verdict == far


def test_live_run_sends_packets(probe: Object, veth: tuple[int, int]) -> None:
    """Verdicts of a live run are acted upon: all packets that are sent arrive at the other end of the cable."""
    near, far = veth
    before = counted(probe)

    with probe.program("count").attach_xdp(far, XdpMode.NATIVE):
        probe.program("bounce").run_live(PACKET, repeat=100, ingress_ifindex=near, batch_size=10)
        deadline_s = time.monotonic() + 10
        while counted(probe) - before < 100 and time.monotonic() < deadline_s:
            time.sleep(0.001)  # the kernel may leave packets to its ksoftirqd

    assert counted(probe) - before == 100


@pytest.mark.parametrize("mode", list(XdpMode))
def test_program_is_on_a_device_while_its_link_is_open(probe: Object, veth: tuple[int, int], mode: XdpMode) -> None:
    """A link puts the program on the device in the mode asked for, visible to all, and closing it takes it off."""
    near, _ = veth
    count = probe.program("count")
    assert attached_program(near) is None

    with count.attach_xdp(near, mode) as link:
        there = attached_program(near)
        assert there is not None
        assert (there.program_id, there.program_name, there.mode) == (count.id, "count", mode)
        assert link.is_attached()

    assert not link.is_attached()
    assert attached_program(near) is None
    link.close()


@pytest.mark.parametrize("second", list(XdpMode))
def test_other_program_is_not_displaced(probe: Object, veth: tuple[int, int], second: XdpMode) -> None:
    """A device with a program refuses another one, in any mode, and keeps what it has."""
    near, _ = veth
    with probe.program("count").attach_xdp(near, XdpMode.NATIVE):
        with pytest.raises(BpfError, match="another XDP program is on it") as refused:
            probe.program("bounce").attach_xdp(near, second)

        assert refused.value.errno in (errno.EBUSY, errno.EEXIST)
        there = attached_program(near)
        assert there is not None
        assert there.program_name == "count"


def test_driver_without_xdp_is_explained(probe: Object) -> None:
    """A device whose driver cannot run programs says so by name, and takes the program generically."""
    with private_network():
        loopback = socket.if_nametoindex("lo")
        with pytest.raises(BpfError, match=r"on lo \(native\): .* its driver cannot"):
            probe.program("count").attach_xdp(loopback, XdpMode.NATIVE)
        with probe.program("count").attach_xdp(loopback, XdpMode.GENERIC) as link:
            assert link.is_attached()


def test_link_notices_that_the_device_is_gone(probe: Object, veth: tuple[int, int]) -> None:
    """A device that disappears takes its program along, and the link knows."""
    near, _ = veth
    with probe.program("count").attach_xdp(near, XdpMode.NATIVE) as link:
        ip("link del near")

        assert not link.is_attached()
        with pytest.raises(BpfError, match="the device is gone") as refused:
            probe.program("count").attach_xdp(near, XdpMode.NATIVE)
        assert refused.value.errno == errno.ENODEV
        assert attached_program(near) is None


def test_attached_program_outlives_its_object(tmp_path: Path, veth: tuple[int, int]) -> None:
    """Closing the object does not take the program off a device: the link does."""
    near, _ = veth
    with loaded(PROBE_SOURCE, tmp_path) as opened:
        link = opened.program("count").attach_xdp(near, XdpMode.NATIVE)
    with link:
        assert link.is_attached()
    assert attached_program(near) is None


def test_verifier_is_quoted(tmp_path: Path) -> None:
    """A program that the kernel rejects comes with the verifier's reason, not with its whole log."""
    require_bpf()
    with (
        Object.open(build(CARELESS_SOURCE, tmp_path)) as opened,
        pytest.raises(BpfError, match=r"careless\.o: the kernel's verifier rejects the program \(R1 offset is outside"),
    ):
        opened.load()


def test_file_that_is_no_object_is_named(tmp_path: Path) -> None:
    """A missing file and one of another kind are refused by name, with the reason."""
    require_bpf()
    text = tmp_path / "text.o"
    text.write_text("not an object\n")

    with pytest.raises(BpfError, match=r"cannot read the BPF object .*/none\.o: No such file") as refused:
        Object.open(tmp_path / "none.o")
    assert refused.value.errno == errno.ENOENT
    with pytest.raises(BpfError, match=r"text\.o: libbpf cannot use it \(libbpf: .*not a proper ELF"):
        Object.open(text)


def test_unknown_names_are_refused(probe: Object) -> None:
    """A map or program that the object lacks is an error that names it."""
    with pytest.raises(BpfError, match=r"probe\.o has no map nowhere"):
        probe.map("nowhere")
    with pytest.raises(BpfError, match=r"probe\.o has no program nowhere"):
        probe.program("nowhere")


def test_object_must_be_loaded_and_open(tmp_path: Path) -> None:
    """Before loading there is nothing to use, and after closing nothing is left: both are errors, not crashes."""
    require_bpf()
    opened = Object.open(build(PROBE_SOURCE, tmp_path))
    with pytest.raises(BpfError, match=r"not in the kernel yet: load probe\.o first"):
        opened.map("numbers")
    with pytest.raises(BpfError, match=r"not in the kernel yet: load probe\.o first"):
        opened.program("count")
    opened.load()
    assert isinstance(opened.program("count"), Program)
    opened.close()
    opened.close()
    with pytest.raises(BpfError, match="is closed"):
        opened.map("numbers")
