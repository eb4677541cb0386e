"""Puts the XDP program on devices and keeps it there, in the fastest mode in which frames get through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from engine.config.schema import FastPath
from engine.fastpath.bpf import BpfError, Link, Program, XdpMode, attached_program
from engine.fastpath.interfaces import Interface, can_receive_redirects, hides_tags
from engine.fastpath.links import device_name
from engine.fastpath.pins import Pins

_MODES: Final[Mapping[FastPath, tuple[XdpMode, ...]]] = {
    FastPath.AUTO: (XdpMode.NATIVE, XdpMode.GENERIC),
    FastPath.NATIVE: (XdpMode.NATIVE,),
    FastPath.GENERIC: (XdpMode.GENERIC,),
    FastPath.OFF: (),
}
"""In the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What has become of a device that was to have the program."""

    name: str
    index: int
    mode: XdpMode | None
    """None: the program is not on it."""
    egress: bool
    """Whether frames that the program redirects get out by it."""
    reason: str
    """What is not as wanted, and what to do, for the operator; empty where all is well."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A device that has the program."""

    link: Link
    tried: tuple[XdpMode, ...]
    reason: str
    """Why it is not in the mode that was tried first."""


class Attachments:
    """The program's links to devices; they end with `close`, or with this process unless they are pinned.

    A device takes frames from anywhere in generic mode. Those redirected in native mode are lost at a device whose
    driver has no queue for them; so if there is one, and the mode is a free choice, all devices run in generic mode.
    """

    def __init__(self, program: Program, setting: FastPath, pins: Pins | None = None) -> None:
        self._program = program
        self._setting = setting
        self._pins = pins
        self._held: dict[int, _Held] = {}
        self._unfit: dict[int, str] = {}
        """The devices because of which all run in generic mode, and why each is unfit."""
        self._found = False

    def take_over(self) -> bool:
        """Go on with the links that an earlier engine left, and this program on them; says whether there were any.

        Those on which the program cannot be exchanged are taken away.
        """
        for link, tried in self._pins.links() if self._pins is not None else ():
            try:
                if link.program_id() != self._program.id:
                    link.update(self._program.fd)
            except BpfError:
                link.detach()
                continue
            slower = link.mode is not tried[0]
            reason = "which is slower: an earlier engine found native mode refused" if slower else ""
            self._held[link.ifindex] = _Held(
                link, tried, reason and f"{device_name(link.ifindex)} runs in {link.mode} mode, {reason}"
            )
            self._found = True
        return self._found

    def leave(self) -> None:
        """Let go of the links; where they are pinned the program stays on its devices."""
        for held in self._held.values():
            held.link.close()
        self._held.clear()

    def follow(self, wanted: Mapping[int, Interface]) -> tuple[Attachment, ...]:
        """Have the program on these devices, by index, and on no others; what cannot be, the reasons say.

        A driver may take long to change its mode, and loses packets meanwhile; when all is well, nothing is changed.
        """
        for index in self._held.keys() - wanted.keys():
            self._release(index)
        if self._found:
            # Where all run in generic mode because of one, they go on so if it still is as it was.
            self._found = False
            generic = any(held.tried == (XdpMode.GENERIC,) for held in self._held.values())
            self._unfit = self._unfit_among(wanted.values()) if generic and self._setting is FastPath.AUTO else {}
        self._unfit = self._unfit_among(wanted[index] for index in self._unfit.keys() & wanted.keys())
        reasons = {index: self._settle(interface) for index, interface in wanted.items()}
        natively = any(held.link.mode is XdpMode.NATIVE for held in self._held.values())
        unfit = self._unfit_among(wanted.values()) if natively else {}
        if unfit and self._setting is FastPath.AUTO:
            self._unfit, unfit = unfit, {}
            reasons = {index: self._settle(interface) for index, interface in wanted.items()}
        complaints = unfit or self._unfit
        return tuple(
            Attachment(
                name=interface.name,
                index=index,
                mode=self._held[index].link.mode if index in self._held else None,
                egress=index not in unfit,
                reason="; ".join(filter(None, (reasons[index], complaints.get(index)))),
            )
            for index, interface in wanted.items()
        )

    def close(self) -> None:
        """Take the program off all devices."""
        for index in list(self._held):
            self._release(index)

    def _release(self, index: int) -> None:
        self._held.pop(index).link.detach()

    def _settle(self, interface: Interface) -> str:
        """Have the program on a device in the first mode that works; what there is to say about it."""
        modes = (XdpMode.GENERIC,) if self._unfit else _MODES[self._setting]
        hidden = _why_not_generic(interface) if XdpMode.GENERIC in modes else ""
        if hidden:
            modes = tuple(mode for mode in modes if mode is not XdpMode.GENERIC)
        held = self._held.get(interface.index)
        lost = False
        if held is not None:
            lost = not _is_attached(held.link)
            if not lost and (held.tried == modes or held.link.mode in modes[:1]):
                return held.reason
            self._release(interface.index)
        if not modes:
            return hidden or 'fast_path = "off"'
        try:
            other = attached_program(interface.index)
        except BpfError as error:
            return str(error)
        if other is not None:
            called = f'"{other.program_name}", ' if other.program_name else ""
            return (
                f"another XDP program ({called}id {other.program_id}) is on {interface.name} and was left alone: "
                f"stop what attached it, if {interface.name} is to have the fast path"
            )
        reason = self._attach(interface, modes)
        if hidden and interface.index not in self._held:
            return f"{reason}; {hidden}"
        return reason or (f"something took the program off {interface.name}: it was put on again" if lost else "")

    def _attach(self, interface: Interface, modes: tuple[XdpMode, ...]) -> str:
        refusals: dict[int, str] = {}
        for mode in modes:
            try:
                link = self._program.attach_xdp(interface.index, mode)
            except BpfError as error:
                refusals[error.errno] = str(error)
                continue
            reason = f"{interface.name} runs in {mode} mode, which is slower: " if refusals else ""
            self._keep(link, modes)
            self._held[interface.index] = _Held(link, modes, reason + "; ".join(refusals.values()))
            return self._held[interface.index].reason
        if self._setting is FastPath.NATIVE:
            return "; ".join([*refusals.values(), 'fast_path = "auto" tries generic mode, too'])
        return "; ".join(refusals.values())

    def _keep(self, link: Link, tried: tuple[XdpMode, ...]) -> None:
        if self._pins is not None:
            # Without a pin it ends with this process, as on a machine that has no place for pins.
            with suppress(BpfError):
                self._pins.keep_link(link, tried)

    def _unfit_among(self, interfaces: Iterable[Interface]) -> dict[int, str]:
        """Why frames redirected in native mode are lost at devices, or may be."""
        whys = {interface.index: self._why_unfit(interface) for interface in interfaces}
        return {index: why for index, why in whys.items() if why}

    def _why_unfit(self, interface: Interface) -> str:
        match can_receive_redirects(interface.index), self._setting:
            case (True, _) | (None, FastPath.NATIVE):
                return ""
            case None, _:
                return (
                    "all devices run in generic mode, which is slower: this kernel (before 6.3) does not tell which "
                    'take redirected frames in native mode; where you know that all do, set fast_path = "native"'
                )
            case _, FastPath.NATIVE:
                so = 'what must leave by it stays on the slow path; fast_path = "auto" takes generic mode then'
            case _:
                so = "all devices run in generic mode, which is slower"
        remedy = "; switch GRO on at its other end: ethtool -K OTHER_END gro on" if interface.kind == "veth" else ""
        return f"{interface.name} takes no redirected frames in native mode, so {so}{remedy}"


def _why_not_generic(interface: Interface) -> str:
    """Why the frames that a program in generic mode forwards from a device would leave with a wrong VLAN tag."""
    if not interface.carries_vlans or not hides_tags(interface):
        return ""
    match interface.kind:
        case "":
            remedy = f": ethtool -K {interface.name} rxvlan off"
        case "veth":
            remedy = "; switch GRO on at its other end for native mode: ethtool -K OTHER_END gro on"
        case _:
            remedy = ""
    return f"{interface.name} hides VLAN tags from generic mode, so its packets take the slow path{remedy}"


def _is_attached(link: Link) -> bool:
    try:
        return link.is_attached()
    except BpfError:
        return False
