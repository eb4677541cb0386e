"""BPF objects and their programs, and by name what else is needed to use them: maps and links."""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import byref, sizeof
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from engine.fastpath import libbpf
from engine.fastpath.errors import BpfError, refusal
from engine.fastpath.libbpf import describe, last_lines, library
from engine.fastpath.links import Attached, Link, XdpMode, attach, attached_program
from engine.fastpath.maps import Map

__all__ = ["Attached", "BpfError", "Link", "Map", "Object", "Program", "Run", "XdpMode", "attached_program"]

_LOADED: Final = MappingProxyType({errno.EBUSY: "do this before loading the object"})


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a program's run over a packet."""

    verdict: int
    """XDP_PASS and the like (linux/bpf.h)."""
    data: bytes
    """The packet afterwards."""
    duration_ns: int


class Program:
    """A program in the kernel; lives as long as its object."""

    def __init__(self, fd: int) -> None:
        info = describe(fd, libbpf.ProgramInfo())
        self.fd = fd
        self.id = int(info.id)
        self.name = str(info.name, "ascii")

    def run(self, packet: bytes, *, ingress_ifindex: int = 0, room_bytes: int = 64) -> Run:
        """Run over a packet as if it had come in by a device, 0 for the loopback one; nothing is sent.

        `room_bytes` is by how much the packet may grow. Raises BpfError.
        """
        context = libbpf.XdpContext(data_end=len(packet), ingress_ifindex=ingress_ifindex)
        data = ctypes.create_string_buffer(len(packet) + room_bytes)
        options = libbpf.RunOptions(
            sz=sizeof(libbpf.RunOptions),
            data_in=packet,
            data_size_in=len(packet),
            data_out=ctypes.addressof(data),
            data_size_out=len(data),
            ctx_in=ctypes.addressof(context),
            ctx_size_in=sizeof(context),
            repeat=1,
        )
        self._run(options)
        return Run(options.retval, data.raw[: options.data_size_out], options.duration)

    def run_live(self, packet: bytes, *, repeat: int, ingress_ifindex: int, batch_size: int = 64) -> None:
        """Run `repeat` times over the packet and act upon the verdict each time; raises BpfError."""
        context = libbpf.XdpContext(data_end=len(packet), ingress_ifindex=ingress_ifindex)
        self._run(
            libbpf.RunOptions(
                sz=sizeof(libbpf.RunOptions),
                data_in=packet,
                data_size_in=len(packet),
                ctx_in=ctypes.addressof(context),
                ctx_size_in=sizeof(context),
                repeat=repeat,
                flags=libbpf.BPF_F_TEST_XDP_LIVE_FRAMES,
                batch_size=batch_size,
            )
        )

    def attach_xdp(self, ifindex: int, mode: XdpMode) -> Link:
        """Put the program on a device that has none, for as long as the link is open; raises BpfError."""
        return attach(self.fd, ifindex, mode)

    def _run(self, options: libbpf.RunOptions) -> None:
        answer = library().bpf_prog_test_run_opts(self.fd, byref(options))
        if answer < 0:
            raise refusal(f"cannot run the BPF program {self.name} over a packet", answer)


class Object:
    """A compiled BPF object: opened, adjusted, then loaded into the kernel.

    Closing it takes its maps out of the kernel, and its program once no link holds it.
    """

    def __init__(self, handle: int, name: str) -> None:
        self._handle: int | None = handle
        self._name = name

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read an object file; raises BpfError."""
        last_lines()
        handle = library().bpf_object__open_file(os.fsencode(path), None)
        if not handle:
            raise refusal(f"cannot read the BPF object {path}", -ctypes.get_errno(), lines=last_lines())
        return cls(handle, path.name)

    def resize(self, map_name: str, max_entries: int) -> None:
        """Set how many elements a map has room for; before loading; raises BpfError."""
        answer = library().bpf_map__set_max_entries(self._find_map(map_name), max_entries)
        if answer < 0:
            raise refusal(f"cannot resize the BPF map {map_name}", answer, remedies=_LOADED)

    def load(self) -> None:
        """Make the maps and have the kernel verify and take the programs; raises BpfError."""
        last_lines()
        answer = library().bpf_object__load(self._open_handle())
        if answer < 0:
            raise refusal(f"cannot load the BPF object {self._name}", answer, lines=last_lines())

    def map(self, name: str) -> Map:
        """A map of the loaded object; raises BpfError."""
        fd = library().bpf_map__fd(self._find_map(name))
        if fd < 0:
            raise BpfError(f"the BPF map {name} is not in the kernel yet: load {self._name} first", errno.EBADF)
        return Map(fd)

    def program(self, name: str) -> Program:
        """A program of the loaded object; raises BpfError."""
        found = library().bpf_object__find_program_by_name(self._open_handle(), name.encode())
        if not found:
            raise BpfError(f"the BPF object {self._name} has no program {name}", errno.ENOENT)
        fd = library().bpf_program__fd(found)
        if fd < 0:
            raise BpfError(f"the BPF program {name} is not in the kernel yet: load {self._name} first", errno.EBADF)
        return Program(fd)

    def close(self) -> None:
        """Let go of maps and programs; closing twice is harmless."""
        if self._handle is not None:
            library().bpf_object__close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _open_handle(self) -> int:
        if self._handle is None:
            raise BpfError(f"the BPF object {self._name} is closed", errno.EBADF)
        return self._handle

    def _find_map(self, name: str) -> int:
        found: int | None = library().bpf_object__find_map_by_name(self._open_handle(), name.encode())
        if not found:
            raise BpfError(f"the BPF object {self._name} has no map {name}", errno.ENOENT)
        return found
