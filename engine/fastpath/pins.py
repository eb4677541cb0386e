"""What keeps the fast path in the kernel when the engine is gone: a directory in the BPF file system.

    INSTANCE/DIGEST/         the program and its maps, by the digest of the compiled object
    INSTANCE/links/INDEX-…   the program's links to devices

Another object has other maps, so its digest tells whether flows can be read where they are.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from typing import Final

from engine.fastpath.bpf import Program
from engine.fastpath.errors import BpfError, refusal
from engine.fastpath.libbpf import library
from engine.fastpath.links import Link, XdpMode, device_name
from engine.fastpath.maps import Map

BPF_FILE_SYSTEM: Final = Path("/sys/fs/bpf")
ROOT: Final = BPF_FILE_SYSTEM / "ikeconsole"
LINKS: Final = "links"
_LINK_NAME = re.compile(r"([0-9]+)-(native|generic)((?:-(?:native|generic))+)")


class PinnedObject:
    """Program and maps of an engine that is gone, as `engine.fastpath.bpf.Object` gives them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptors: list[int] = []

    def map(self, name: str) -> Map:
        """A map; raises BpfError."""
        return Map(self._get(name))

    def program(self, name: str) -> Program:
        """A program; raises BpfError."""
        return Program(self._get(name))

    def close(self) -> None:
        """Let go of maps and programs, which stay where they are; closing twice is harmless."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _get(self, name: str) -> int:
        descriptor = get_pinned(self._directory / name)
        self._descriptors.append(descriptor)
        return descriptor


class Pins:
    """The pins of one engine; another one with the same name finds them."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        self.directory = root / name

    @property
    def exist(self) -> bool:
        """Whether an earlier engine left anything, and nobody else could have put it there."""
        try:
            return self.directory.is_dir() and not self._why_untrusted()
        except OSError:
            return False

    def begin(self) -> None:
        """Make room for pins; raises BpfError where there can be none."""
        try:
            for directory in (self.directory.parent, self.directory, self.directory / LINKS):
                directory.mkdir(mode=0o700, exist_ok=True)
            untrusted = self._why_untrusted()
        except OSError as error:
            raise BpfError(_why_no_room(self.directory, error), error.errno or 0) from error
        if untrusted:
            raise BpfError(untrusted)

    def find(self, digest: str) -> PinnedObject | None:
        """Program and maps that an earlier engine left, if they are those of this object."""
        directory = self.directory / digest
        return PinnedObject(directory) if directory.is_dir() else None

    def keep(self, digest: str, parts: Mapping[str, int]) -> None:
        """Pin program and maps, given as descriptors by name; raises BpfError."""
        directory = self.directory / digest
        remove(directory)
        try:
            directory.mkdir()
        except OSError as error:
            raise BpfError(_why_no_room(directory, error), error.errno or 0) from error
        for name, descriptor in parts.items():
            pin(descriptor, directory / name)

    def drop_others(self, digest: str) -> None:
        """Drop program and maps of every other object."""
        with suppress(OSError):
            for directory in list(self.directory.iterdir()):
                if directory.name not in (digest, LINKS):
                    remove(directory)

    def links(self) -> Iterator[tuple[Link, tuple[XdpMode, ...]]]:
        """The links that an earlier engine left, each with the modes that it had tried."""
        for path in self._link_paths():
            match = _LINK_NAME.fullmatch(path.name)
            try:
                if match is None:
                    raise BpfError(f"{path} is none of ours")
                link = Link(get_pinned(path), int(match[1]), XdpMode(match[2]), path)
                if not link.is_attached():
                    link.detach()
                    continue
            except BpfError:
                continue
            yield link, tuple(XdpMode(mode) for mode in match[3][1:].split("-"))

    def devices(self) -> list[str]:
        """The devices that an earlier engine left its program on."""
        names = []
        for link, _ in self.links():
            with link:
                names.append(device_name(link.ifindex))
        return sorted(names)

    def keep_link(self, link: Link, tried: tuple[XdpMode, ...]) -> None:
        """Have a link outlive this process; raises BpfError."""
        path = self.directory / LINKS / "-".join([str(link.ifindex), link.mode, *tried])
        with suppress(FileNotFoundError):
            path.unlink()
        pin(link.fd, path)
        link.pinned = path

    def drop(self) -> bool:
        """Take everything out of the kernel that is pinned here; says whether there was anything."""
        was_there = any(True for _ in self._link_paths())
        remove(self.directory)
        return was_there

    def _why_untrusted(self) -> str:
        """Why others may have a hand in what is pinned here; empty: only root and this user. Raises OSError."""
        anybody_makes = self.directory.parent.parent.stat().st_mode & stat.S_IWOTH
        for directory in (self.directory.parent, self.directory):
            found = directory.stat()
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"{directory} may be written by other users: chmod 0700 {directory}"
            if anybody_makes and found.st_uid not in (0, os.geteuid()):
                return f"{directory} was made by another user: remove it"
        return ""

    def _link_paths(self) -> list[Path]:
        try:
            return list((self.directory / LINKS).iterdir())
        except OSError:
            return []


def instance_name(state_dir: Path) -> str:
    """What pins of the engine with a state directory are called: dots are not allowed there."""
    path = os.path.abspath(state_dir)
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", path).strip("-")[-40:]
    return f"{readable}-{blake2s(path.encode(), digest_size=4).hexdigest()}"


def digest_of(object_file: Path) -> str:
    """What names a compiled object."""
    return blake2s(object_file.read_bytes(), digest_size=8).hexdigest()


def pin(descriptor: int, path: Path) -> None:
    """Give a program, map or link a name in the BPF file system; raises BpfError."""
    answer = library().bpf_obj_pin(descriptor, os.fsencode(path))
    if answer < 0:
        raise refusal(f"cannot pin {path}", answer)


def get_pinned(path: Path) -> int:
    """A new descriptor of what has a name in the BPF file system; raises BpfError."""
    descriptor: int = library().bpf_obj_get(os.fsencode(path))
    if descriptor < 0:
        raise refusal(f"cannot open {path}", descriptor)
    return descriptor


def remove(directory: Path) -> None:
    """Unpin everything below a directory, and remove it: links first, so that packets miss before flows are gone."""
    for child in (LINKS, *_names(directory)):
        path = directory / child
        if path.is_dir():
            remove(path)
        else:
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        directory.rmdir()


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _why_no_room(directory: Path, error: OSError) -> str:
    if directory.is_relative_to(BPF_FILE_SYSTEM) and not _is_mounted():
        return f"no BPF file system is mounted: mount -t bpf bpf {BPF_FILE_SYSTEM}"
    return f"{directory} cannot be made ({error.strerror}): give this user a directory {ROOT}"


def _is_mounted() -> bool:
    """Whether the BPF file system is: a mount alone may be systemd's, which lets a service only read what is there."""
    with suppress(OSError):
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return any(line.split()[1:3] == [str(BPF_FILE_SYSTEM), "bpf"] for line in mounts)
    return False
