"""The control socket in the file system: found free, bound with the right owner, removed at the end."""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.control.access import peer_credentials, user_name

BACKLOG = 64

log = logging.getLogger(__name__)


class ControlSocketError(Exception):
    """The control socket cannot be opened; the message says why and what to do."""


@contextmanager
def bound(path: Path, group_id: int | None) -> Iterator[socket.socket]:
    """A listening Unix socket at `path`, mode 0660, of group `group_id`; raises `ControlSocketError`."""
    try:
        listener, inode = _bind(path, group_id)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ControlSocketError(
            f"control socket {path}: {reason}: run with the rights to write there, "
            "or set engine.control_socket to another path"
        ) from error
    try:
        with listener:
            yield listener
    finally:
        # A successor may have replaced the socket while this engine was stopping.
        with suppress(OSError):
            if path.lstat().st_ino == inode:
                path.unlink()


def find_group(name: str) -> int | None:
    """The number of the control group, None for no name; raises `ControlSocketError` for an unknown one."""
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ControlSocketError(
            f"engine.control_group: there is no group {name!r} on this machine: "
            f"create it (groupadd {name}) or correct the name"
        ) from None


def _bind(path: Path, group_id: int | None) -> tuple[socket.socket, int]:
    """Bind beside the path and rename: clients see the old socket or the finished new one."""
    _make_directory(path.parent, group_id)
    _require_free(path)
    unfinished = path.with_name(f".{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(unfinished))
        if group_id is not None:
            _give(unfinished, group_id)
        unfinished.chmod(0o660)
        listener.listen(BACKLOG)
        inode = unfinished.lstat().st_ino
        unfinished.rename(path)
    except BaseException:
        listener.close()
        unfinished.unlink(missing_ok=True)
        raise
    return listener, inode


def _make_directory(directory: Path, group_id: int | None) -> None:
    if directory.is_dir():
        found = directory.stat()
        others_enter = found.st_mode & stat.S_IXOTH
        group_enters = found.st_gid == group_id and found.st_mode & stat.S_IXGRP
        if group_id is not None and not others_enter and not group_enters:
            log.warning("members of the control group cannot enter %s: chgrp it to that group", directory)
        return
    directory.mkdir(parents=True)
    if group_id is not None:
        _give(directory, group_id)
    directory.chmod(0o750)


def _give(path: Path, group_id: int) -> None:
    """Hand a file of one's own to a group; only root may where it is not in it."""
    try:
        os.chown(path, -1, group_id)
    except PermissionError as error:
        user, group = user_name(os.geteuid()), grp.getgrgid(group_id).gr_name
        raise ControlSocketError(
            f"engine.control_group: the user {user}, whom the engine runs as, is not in group {group!r} and so cannot "
            f"give it the control socket: under systemd put SupplementaryGroups={group} below [Service] with "
            f"`systemctl edit ikeconsole`; else add the user (usermod -aG {group} {user}) and start the engine anew"
        ) from error


def _require_free(path: Path) -> None:
    """Raise `ControlSocketError` unless nothing, or only the socket of a dead engine, is at `path`."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlSocketError(f"{path} is not a socket: move it away, or set engine.control_socket to another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:  # its backlog is full, so it lives
            owner = ""
        else:
            owner = f" (pid {peer_credentials(probe).pid})"
    raise ControlSocketError(
        f"another engine{owner} already listens on {path}: stop it, "
        "or set engine.control_socket of this one to another path"
    )
