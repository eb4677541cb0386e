"""Links, which keep an XDP program on a network device, and which program a device has."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from ctypes import byref, sizeof
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engine.fastpath import libbpf
from engine.fastpath.errors import refusal
from engine.fastpath.libbpf import describe, library

_ATTACHING: Final = {
    errno.EBUSY: "another XDP program is on it",
    errno.EEXIST: "another XDP program is on it",
    errno.EOPNOTSUPP: "its driver cannot do this",
    errno.EINVAL: "its driver declines; an MTU below 3500 and offloads (LRO, GRO_HW) switched off often help",
    errno.ERANGE: "its MTU, or its peer's, is too large for XDP: lower it below 3500",
    errno.ENOSPC: "it has too few queues for XDP",
}


class XdpMode(StrEnum):
    """Where an XDP program runs: in the device's driver, or in the kernel's stack after it."""

    NATIVE = "native"
    GENERIC = "generic"


_MODE_FLAGS: Final = {XdpMode.NATIVE: libbpf.XDP_FLAGS_DRV_MODE, XdpMode.GENERIC: libbpf.XDP_FLAGS_SKB_MODE}
_MODES: Final = {libbpf.XDP_ATTACHED_DRV: XdpMode.NATIVE, libbpf.XDP_ATTACHED_SKB: XdpMode.GENERIC}


class Link:
    """A program on a device; the program leaves it when the link is closed, unless that is pinned."""

    def __init__(self, fd: int, ifindex: int, mode: XdpMode, pinned: Path | None = None) -> None:
        self.fd = fd
        self.ifindex = ifindex
        self.mode = mode
        self.pinned = pinned
        """What keeps it when this process ends."""

    def is_attached(self) -> bool:
        """Whether the program is still there: no longer when the device is gone or someone detached it."""
        if self.fd < 0:
            return False
        return bool(describe(self.fd, libbpf.LinkInfo()).ifindex)

    def program_id(self) -> int:
        """Which program it puts on the device; raises BpfError."""
        return int(describe(self.fd, libbpf.LinkInfo()).prog_id)

    def update(self, program_fd: int) -> None:
        """Put another program in the place of the one on the device, between two packets; raises BpfError."""
        answer = library().bpf_link_update(self.fd, program_fd, None)
        if answer < 0:
            raise refusal(f"cannot exchange the XDP program on {device_name(self.ifindex)}", answer)

    def detach(self) -> None:
        """Take the program off the device, also where the link is pinned."""
        if self.pinned is not None:
            with suppress(OSError):
                self.pinned.unlink()
            self.pinned = None
        self.close()

    def close(self) -> None:
        """Let go of the link; closing twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def attach(program_fd: int, ifindex: int, mode: XdpMode) -> Link:
    """Put a program on a device that has none; raises BpfError."""
    options = libbpf.LinkOptions(sz=sizeof(libbpf.LinkOptions), flags=_MODE_FLAGS[mode])
    fd = library().bpf_link_create(program_fd, ifindex, libbpf.BPF_XDP, byref(options))
    if fd < 0:
        what = f"cannot put the XDP program on {device_name(ifindex)} ({mode})"
        raise refusal(what, fd if _is_there(ifindex) else -errno.ENODEV, remedies=_ATTACHING)
    return Link(fd, ifindex, mode)


@dataclass(frozen=True, slots=True)
class Attached:
    """The XDP program that a device has."""

    program_id: int
    mode: XdpMode | None
    """None: in the network card itself, or in several places."""
    program_name: str | None
    """None: it has none, or this process may not ask (CAP_SYS_ADMIN)."""


def attached_program(ifindex: int) -> Attached | None:
    """Which XDP program a device has, whoever put it there; None also for no such device; raises BpfError."""
    options = libbpf.XdpQueryOptions(sz=sizeof(libbpf.XdpQueryOptions))
    answer = library().bpf_xdp_query(ifindex, 0, byref(options))
    if answer < 0:
        raise refusal(f"cannot ask for the XDP program of {device_name(ifindex)}", answer)
    program_id = options.prog_id or options.drv_prog_id or options.skb_prog_id or options.hw_prog_id
    if not program_id:
        return None
    return Attached(program_id, _MODES.get(options.attach_mode), _program_name(program_id))


def _program_name(program_id: int) -> str | None:
    fd = library().bpf_prog_get_fd_by_id(program_id)
    if fd < 0:
        return None
    try:
        return str(describe(fd, libbpf.ProgramInfo()).name, "ascii") or None
    finally:
        os.close(fd)


def device_name(ifindex: int) -> str:
    """What a device is called, also one that is gone."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return f"the device with index {ifindex}"


def _is_there(ifindex: int) -> bool:
    return any(index == ifindex for index, _ in socket.if_nameindex())
