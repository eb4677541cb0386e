"""Where the engine keeps its files: whether it can write there, and whether there is room."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.config.schema import EngineSection
from engine.doctor.diagnosis import Diagnosis, Topic
from engine.paths import default_control_socket, state_dir_of

LITTLE_BYTES: Final = 64 << 20
NOTHING_BYTES: Final = 1 << 20

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of the engine's."""

    topic: Topic
    path: str
    without: str
    """What follows where nothing can be written there."""
    exists: bool = True
    """Else it is made at the first start, in the nearest directory that there is."""
    writable: bool = True
    read_only: bool = False
    """The file system is mounted so."""
    visible: bool = True
    nearest: str = "/"
    """The directory that there is: its own, or the nearest above."""
    user: str = "root"
    """Who looked."""
    free_bytes: int = LITTLE_BYTES
    free_files: int | None = None
    """None: the file system has no limit."""


def look_at_places(settings: EngineSection) -> list[Place]:
    """The directories of state and control socket, as this user sees them."""
    state = state_dir_of(settings.state_dir)
    socket = Path(settings.control_socket) if settings.control_socket else default_control_socket()
    return [
        _look(Topic("files", "state-dir"), state, "history and what survives a restart cannot be kept"),
        _look(Topic("files", "control-socket"), socket.parent, "no console or command can reach the engine"),
    ]


def judge_places(places: Iterable[Place], *, others_engine: bool) -> Iterator[Diagnosis]:
    """Whether the engine finds room; `others_engine`: one runs as another user, whose rights these are not."""
    for place in places:
        where = place.path if place.exists else f"{place.path}, yet to be made"
        topic = place.topic
        if others_engine and not (place.visible and place.writable):
            yield topic.unchecked(f"whether {where} can be written: the engine runs as another user")
        elif place.read_only:
            yield topic.fail(
                f"{where} is on a file system that is mounted read-only: {place.without}",
                remedy="mount it writable, or name another place in [engine]",
                command=f"mount -o remount,rw $(stat -c %m {place.nearest})",
            )
        elif not place.writable:
            yield topic.fail(
                f"{where} cannot be written by {place.user}: {place.without}",
                remedy="run the engine as a user who may, or give it to this one, or name another place in [engine]",
                command=f"install -d -m 750 -o {place.user} {place.path}",
            )
        elif place.free_bytes < NOTHING_BYTES or place.free_files == 0:
            full = "no room" if place.free_bytes < NOTHING_BYTES else "no free inode"
            yield topic.fail(
                f"{where}: {full} is left: {place.without}",
                remedy="find what fills the file system",
                command=f"df -h {place.path}; df -i {place.path}",
            )
        elif place.free_bytes < LITTLE_BYTES:
            yield topic.warn(
                f"{where}: only {place.free_bytes // _MIB} MiB are free",
                remedy="find what fills the file system",
                command=f"df -h {place.path}",
            )
        else:
            yield topic.ok(f"{where}: writable, {place.free_bytes // _MIB} MiB free")


def _look(topic: Topic, path: Path, without: str) -> Place:
    nearest = path
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    place = Place(
        topic,
        str(path),
        without,
        exists=nearest == path,
        writable=nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK),
        nearest=str(nearest),
        user=_user(),
    )
    try:
        room = os.statvfs(nearest)
    except OSError:
        return replace(place, visible=False)
    return replace(
        place,
        read_only=bool(room.f_flag & os.ST_RDONLY),
        free_bytes=room.f_bavail * room.f_frsize,
        free_files=room.f_favail if room.f_files else None,
    )


def _user() -> str:
    """By name, or by number where there is none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
