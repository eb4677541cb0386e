"""What an engine that is gone has left in the kernel: looked for, and taken away."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.acceleration import left_on, take_out
from engine.net import transparent
from engine.survival.lock import running


@dataclass(frozen=True, slots=True)
class Orphans:
    """A fast path without an engine: tunnels that were established go on, and no new ones come."""

    devices: Sequence[str]


def orphans(state_dir: Path) -> Orphans | None:
    """The fast path that the engine with this state directory left behind; None: there is none, or the engine runs.

    Raises:
        OSError: this user may not look.
    """
    if running(state_dir) is not None:
        return None
    devices = left_on(state_dir)
    return Orphans(devices) if devices else None


async def take_down(state_dir: Path, control_socket: Path) -> list[str]:
    """Remove every trace of an engine that does not run but its saved sessions; what was there, in words."""
    done = []
    if take_out(state_dir):
        done.append("the fast path: tunnels on it end")
    if await transparent.remove():
        done.append("the return path: rules, routes and nftables table")
    if _unlink_socket(control_socket):
        done.append(f"the control socket {control_socket}")
    return done


def _unlink_socket(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        path.unlink()
    except OSError:
        return False
    return True
