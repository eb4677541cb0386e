"""What the kernel tells in /proc, read without raising: what cannot be read is None, or nothing."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def text(*parts: str | int) -> str | None:
    """The contents of a file below /proc; None: there is none, or this user may not read it."""
    try:
        return PROC.joinpath(*map(str, parts)).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def sysctl(name: str) -> int | None:
    """The value of a sysctl such as `net/ipv4/ip_forward`; None: this kernel has none of that name."""
    try:
        return int((text("sys", name) or "").split()[0])
    except (IndexError, ValueError):
        return None


def field_of_status(pid: int | str, name: str) -> str | None:
    """The first word of a field of /proc/PID/status."""
    for line in (text(pid, "status") or "").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.split()[0]
    return None
