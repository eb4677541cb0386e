"""VLAN tags that the kernel keeps beside a frame: in generic mode they would leave with what the program forwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bpf_objects import FORWARD_SOURCE, ip, loaded, private_network

from engine.config.schema import FastPath
from engine.fastpath.attachments import Attachment, Attachments
from engine.fastpath.bpf import Program, XdpMode
from engine.fastpath.interfaces import Interface, hides_tags, list_interfaces


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The forwarding program, in a network of a veth pair, near and far."""
    with loaded(FORWARD_SOURCE, tmp_path) as opened, private_network():
        ip("link add near type veth peer far")
        for device in ("near", "far"):
            ip(f"link set {device} up")
        yield opened.program("forward")


def near(**changes: object) -> Interface:
    """The near device, below VLAN devices: which the kernel of the tests may be unable to make."""
    found = next(one for one in list_interfaces().values() if one.name == "near")
    return replace(found, **({"carries_vlans": True} | changes))  # type: ignore[arg-type]


def hardware() -> Interface:
    """The near device, as if a network card."""
    return near(kind="")


def switch(feature: str, setting: str, device: str = "near") -> None:
    """Switch an offload."""
    subprocess.run(["ethtool", "-K", device, feature, setting], check=True, capture_output=True)


def told(held: Attachments, interface: Interface) -> Attachment:
    """What becomes of one device."""
    (attachment,) = held.follow({interface.index: interface})
    return attachment


@pytest.mark.usefixtures("program")
def test_a_card_hides_tags_while_it_takes_them_off() -> None:
    """As `ethtool` has it."""
    answers = []
    for setting in ("on", "off", "on"):
        switch("rxvlan", setting)
        answers.append(hides_tags(hardware()))
    assert answers == [True, False, True]


@pytest.mark.usefixtures("program")
def test_virtual_devices_and_those_that_are_gone_are_not_trusted() -> None:
    """What a veth passes on may lack its tag, whatever is switched off there."""
    switch("rxvlan", "off")
    assert hides_tags(near())
    assert hides_tags(replace(hardware(), name="gone"))


def test_generic_mode_waits_until_the_card_leaves_tags_on(program: Program) -> None:
    """The operator is told which switch; when it is thrown the device has the program, and loses it again with it."""
    held = Attachments(program, FastPath.GENERIC)
    switch("rxvlan", "on")
    refused = told(held, hardware())
    assert refused.mode is None
    assert refused.reason.endswith("its packets take the slow path: ethtool -K near rxvlan off")
    switch("rxvlan", "off")
    assert (told(held, hardware()).mode, told(held, hardware()).reason) == (XdpMode.GENERIC, "")
    switch("rxvlan", "on")
    assert told(held, hardware()).mode is None
    held.close()


def test_without_vlan_devices_tags_do_not_matter(program: Program) -> None:
    """Nothing that is forwarded has one."""
    held = Attachments(program, FastPath.GENERIC)
    assert told(held, near(carries_vlans=False)).mode is XdpMode.GENERIC
    held.close()


def test_native_mode_is_taken_and_generic_mode_not_fallen_back_to(program: Program) -> None:
    """There the program writes the whole of what leaves; a veth is told how it can have it."""
    held = Attachments(program, FastPath.AUTO)
    switch("gro", "off", "far")
    refused = told(held, near())
    assert refused.mode is None
    assert refused.reason.count("gro on") == 2
    switch("gro", "on", "far")
    assert (told(held, near()).mode, told(held, near()).reason) == (XdpMode.NATIVE, "")
    held.close()
