"""Who is at the other end of a control connection, and whether they may change the engine."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass

import trio

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A local peer as the kernel recorded it when it connected."""

    pid: int
    uid: int
    gid: int


def peer_credentials(connection: socket.socket | trio.socket.SocketType) -> Credentials:
    """The process at the other end of a Unix stream socket (SO_PEERCRED, unix(7)); raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Credentials(*_UCRED.unpack(raw))


def user_name(uid: int) -> str:
    """The account's name, or its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_owner(peer: Credentials) -> bool:
    """Whether a peer is root or the engine's own user, who could do to the engine whatever they like anyway."""
    return peer.uid in (0, os.geteuid())


def may_change(peer: Credentials, group_id: int | None) -> bool:
    """Whether a peer is root, the engine's own user, or in the control group; asks the account databases."""
    if is_owner(peer):
        return True
    if group_id is None:
        return False
    return group_id == peer.gid or group_id in _groups(peer)


def _groups(peer: Credentials) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid)
    except KeyError:
        return []
