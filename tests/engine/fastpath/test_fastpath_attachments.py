"""The XDP program on real devices: which mode it takes, what is left alone, and what operators are told."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from bpf_objects import FORWARD_SOURCE, ip, loaded, private_network

from engine.config.schema import FastPath
from engine.fastpath import attachments
from engine.fastpath.attachments import Attachment, Attachments
from engine.fastpath.bpf import BpfError, Link, Program, XdpMode
from engine.fastpath.interfaces import Interface, list_interfaces

NATIVE, GENERIC = XdpMode.NATIVE, XdpMode.GENERIC


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The forwarding program, in the kernel."""
    with loaded(FORWARD_SOURCE, tmp_path_factory.mktemp("bpf")) as opened:
        yield opened.program("forward")


@dataclass
class Network:
    """Two veth pairs, in0 and in1 with their far ends far0 and far1, and a bridge, which has no native XDP."""

    program: Program
    links: list[Link] = field(default_factory=list)
    """What `attach_xdp` made."""
    without_native: tuple[str, ...] = ()
    """Devices whose drivers are said to have no native mode."""

    def __post_init__(self) -> None:
        for number in (0, 1):
            ip(f"link add in{number} type veth peer far{number}")
        ip("link add bridge type bridge")
        for device in ("in0", "far0", "in1", "far1", "bridge"):
            ip(f"link set {device} up")

    def attach_xdp(self, ifindex: int, mode: XdpMode) -> Link:
        """Take the program's place, to see its links."""
        if mode is NATIVE and ifindex in devices(*self.without_native):
            raise BpfError("no native mode here", errno.EOPNOTSUPP)
        self.links.append(self.program.attach_xdp(ifindex, mode))
        return self.links[-1]

    def occupy(self, name: str, mode: XdpMode = NATIVE) -> Link:
        """Have someone else's program on a device; on a far end it lets the near one take redirected frames."""
        return self.program.attach_xdp(index_of(name), mode)


@pytest.fixture
def network(program: Program) -> Iterator[Network]:
    """A network that nothing else sees."""
    with private_network():
        made = Network(program)
        yield made
        for link in made.links:
            link.close()


@pytest.fixture
def fit(network: Network) -> Iterator[Network]:
    """The same, where both veth devices take redirected frames in native mode."""
    with network.occupy("far0"), network.occupy("far1"):
        yield network


def devices(*names: str) -> dict[int, Interface]:
    """The devices with these names."""
    return {one.index: one for one in list_interfaces().values() if one.name in names}


def index_of(name: str) -> int:
    """The device's index."""
    return next(iter(devices(name)))


def by_name(made: tuple[Attachment, ...]) -> dict[str, Attachment]:
    """Attachments by the names of their devices."""
    return {attachment.name: attachment for attachment in made}


def modes(made: tuple[Attachment, ...]) -> dict[str, XdpMode | None]:
    """Each device's mode."""
    return {attachment.name: attachment.mode for attachment in made}


def programs(*names: str) -> list[int | None]:
    """The program's number on each device, as the kernel tells it."""
    return [next(iter(devices(name).values())).xdp_program_id for name in names]


@pytest.mark.parametrize("setting", [FastPath.AUTO, FastPath.NATIVE])
def test_native_where_frames_get_through(fit: Network, setting: FastPath) -> None:
    """All is well: native, all devices fit for egress, and nothing to say."""
    held = Attachments(fit.program, setting)
    made = held.follow(devices("in0", "in1"))
    assert modes(made) == {"in0": NATIVE, "in1": NATIVE}
    assert all(attachment.egress and not attachment.reason for attachment in made)
    assert programs("in0", "in1") == [fit.program.id] * 2
    held.close()
    assert programs("in0", "in1") == [None, None]


def test_following_again_changes_nothing(fit: Network) -> None:
    """A link that is right is kept: taking it off and on would stop traffic for a moment."""
    held = Attachments(fit, FastPath.AUTO)
    wanted = devices("in0", "in1", "bridge")
    first = held.follow(wanted)
    links = list(fit.links)
    assert held.follow(wanted) == first
    assert fit.links == links


def test_one_device_that_loses_frames_puts_all_in_generic_mode(network: Network) -> None:
    """auto: a frame redirected in native mode would be lost there; the operator learns at which, and the remedy."""
    with network.occupy("far0"):
        held = Attachments(network, FastPath.AUTO)
        made = held.follow(devices("in0", "in1"))
    assert modes(made) == {"in0": GENERIC, "in1": GENERIC}
    assert all(attachment.egress for attachment in made)
    told = by_name(made)
    assert told["in0"].reason == ""
    assert "in1 takes no redirected frames in native mode" in told["in1"].reason
    assert "gro on" in told["in1"].reason


def test_native_again_when_the_device_has_learnt_it(network: Network) -> None:
    """auto: what the reason advises takes effect by itself; and back when it is undone."""
    held = Attachments(network, FastPath.AUTO)
    with network.occupy("far0"):
        assert modes(held.follow(devices("in0", "in1"))) == {"in0": GENERIC, "in1": GENERIC}
        with network.occupy("far1"):
            made = held.follow(devices("in0", "in1"))
            assert modes(made) == {"in0": NATIVE, "in1": NATIVE}
            assert [attachment.reason for attachment in made] == ["", ""]
        assert modes(held.follow(devices("in0", "in1"))) == {"in0": GENERIC, "in1": GENERIC}


def test_native_again_when_the_unfit_device_is_no_longer_wanted(network: Network) -> None:
    """auto: the others need not stay slow because of a device that has nothing to do with them any more."""
    held = Attachments(network, FastPath.AUTO)
    with network.occupy("far0"):
        assert modes(held.follow(devices("in0", "in1"))) == {"in0": GENERIC, "in1": GENERIC}
        assert modes(held.follow(devices("in0"))) == {"in0": NATIVE}
    assert programs("in1") == [None]


def test_a_driver_without_native_mode_leaves_the_others_native(fit: Network) -> None:
    """auto: it runs in generic mode and says why; as it takes redirected frames, no other device is slowed down."""
    fit.without_native = ("in0",)
    held = Attachments(fit, FastPath.AUTO)
    made = held.follow(devices("in0", "in1"))
    assert modes(made) == {"in0": GENERIC, "in1": NATIVE}
    assert by_name(made)["in0"].reason == "in0 runs in generic mode, which is slower: no native mode here"
    assert held.follow(devices("in0", "in1")) == made
    assert len(fit.links) == 2


def test_a_bridge_runs_generic(network: Network) -> None:
    """auto: by itself it needs no other; that its driver has no native mode is said."""
    held = Attachments(network, FastPath.AUTO)
    (bridge,) = held.follow(devices("bridge"))
    assert (bridge.mode, bridge.egress) == (GENERIC, True)
    assert "bridge runs in generic mode, which is slower" in bridge.reason


def test_native_means_native(network: Network) -> None:
    """The setting native: an unfit device keeps the program but is no egress, one without native mode has none."""
    with network.occupy("far0"):
        told = by_name(Attachments(network, FastPath.NATIVE).follow(devices("in0", "in1", "bridge")))
    assert (told["in0"].mode, told["in0"].egress, told["in0"].reason) == (NATIVE, True, "")
    assert (told["in1"].mode, told["in1"].egress) == (NATIVE, False)
    assert (told["bridge"].mode, told["bridge"].egress) == (None, False)
    for name in ("in1", "bridge"):
        assert 'fast_path = "auto"' in told[name].reason


def test_generic_means_generic(fit: Network) -> None:
    """The setting generic: also where native would do, and there is nothing to explain."""
    made = Attachments(fit, FastPath.GENERIC).follow(devices("in0", "bridge"))
    assert modes(made) == {"in0": GENERIC, "bridge": GENERIC}
    assert all(attachment.egress and not attachment.reason for attachment in made)


def test_off_means_off(fit: Network) -> None:
    """The setting off: no device has the program, and says why."""
    (told,) = Attachments(fit, FastPath.OFF).follow(devices("in0"))
    assert (told.mode, told.reason) == (None, 'fast_path = "off"')
    assert programs("in0") == [None]


@pytest.mark.parametrize(("setting", "mode"), [(FastPath.AUTO, GENERIC), (FastPath.NATIVE, NATIVE)])
def test_a_kernel_that_does_not_tell(
    fit: Network, monkeypatch: pytest.MonkeyPatch, setting: FastPath, mode: XdpMode
) -> None:
    """auto does not risk tunnels on it; whoever writes native knows the devices."""
    monkeypatch.setattr(attachments, "can_receive_redirects", lambda _: None)
    (told,) = Attachments(fit, setting).follow(devices("in0"))
    assert (told.mode, told.egress) == (mode, True)
    assert ("before 6.3" in told.reason) == (setting is FastPath.AUTO)


@pytest.mark.parametrize("mode", list(XdpMode))
def test_another_program_is_left_alone(fit: Network, mode: XdpMode) -> None:
    """Its device stays without ours, with its name in the reason, until it goes; other devices do not mind."""
    held = Attachments(fit, FastPath.AUTO)
    with fit.occupy("in0", mode) as theirs:
        told = by_name(held.follow(devices("in0", "in1")))
        assert (told["in0"].mode, told["in1"].mode) == (None, NATIVE)
        assert f'"forward", id {fit.program.id}' in told["in0"].reason
        assert theirs.is_attached()
    assert modes(held.follow(devices("in0", "in1"))) == {"in0": NATIVE, "in1": NATIVE}


def test_a_device_that_went_comes_back(fit: Network) -> None:
    """Deleted it is forgotten; made again, with a new index, it has the program again."""
    held = Attachments(fit, FastPath.AUTO)
    before = held.follow(devices("in0", "in1"))
    ip("link del in0")
    assert modes(held.follow(devices("in0", "in1"))) == {"in1": NATIVE}
    ip("link add in0 type veth peer far0")
    with fit.occupy("far0"):
        after = held.follow(devices("in0", "in1"))
    assert modes(after) == {"in0": NATIVE, "in1": NATIVE}
    assert by_name(after)["in0"].index != by_name(before)["in0"].index
    assert by_name(after)["in0"].reason == ""


def test_a_device_that_goes_meanwhile_is_a_reason(network: Network) -> None:
    """Between asking for the devices and attaching, one can vanish."""
    wanted = devices("in0")
    ip("link del in0")
    (told,) = Attachments(network, FastPath.GENERIC).follow(wanted)
    assert told.mode is None
    assert "gone" in told.reason


def test_a_device_that_is_down_keeps_the_program(fit: Network) -> None:
    """A cable that is pulled and put back changes nothing."""
    held = Attachments(fit, FastPath.AUTO)
    held.follow(devices("in0"))
    ip("link set in0 down")
    (told,) = held.follow(devices("in0"))
    assert (told.mode, told.reason) == (NATIVE, "")
    assert len(fit.links) == 1


def test_a_program_taken_off_is_noticed(fit: Network) -> None:
    """Someone detaches ours: the next look puts it on again and says so, once."""
    held = Attachments(fit, FastPath.AUTO)
    held.follow(devices("in0"))
    assert ctypes.CDLL("libbpf.so.1").bpf_link_detach(fit.links[0].fd) == 0
    assert programs("in0") == [None]
    (told,) = held.follow(devices("in0"))
    assert told.mode is NATIVE
    assert "something took the program off in0" in told.reason
    (told,) = held.follow(devices("in0"))
    assert told.reason == ""


def test_a_program_replaced_is_noticed(fit: Network) -> None:
    """Someone detaches ours and attaches theirs: theirs stays."""
    held = Attachments(fit, FastPath.AUTO)
    held.follow(devices("in0"))
    assert ctypes.CDLL("libbpf.so.1").bpf_link_detach(fit.links[0].fd) == 0
    with fit.occupy("in0") as theirs:
        (told,) = held.follow(devices("in0"))
        assert told.mode is None
        assert "another XDP program" in told.reason
        assert theirs.is_attached()
