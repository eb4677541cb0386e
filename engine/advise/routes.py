"""How this machine reaches real servers, from the kernel's routing table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import Any, Final

import trio

PATIENCE_S: Final = 5.0
"""The kernel answers at once; a machine in trouble must not keep whoever asks for advice waiting for ever."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an address."""

    source: str
    """This machine's own address on that way."""
    gateway: str
    """The router in between; empty: the address is on the same network."""
    device: str = ""
    """The network device that packets leave by."""


async def routes_to(addresses: Iterable[str], source: str = "") -> dict[str, Route]:
    """The ways to addresses, by address; those that the kernel has none for, or cannot be asked about, are left out.

    `source` is the address of this machine that packets leave from; empty: what each route says itself.
    """
    wanted = list(dict.fromkeys(addresses))
    if not wanted:
        return {}
    whence = f" from {source}" if source else ""
    lines = "".join(f"route get {address}{whence}\n" for address in wanted)
    try:
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                ["ip", "-json", "-force", "-batch", "-"],
                stdin=lines.encode(),
                capture_stdout=True,
                stderr=DEVNULL,
                check=False,
            )
    except (OSError, trio.TooSlowError):
        return {}
    return {str(found["dst"]): _route(found) for found in _found(done.stdout) if found.get("prefsrc") or source}


def _found(output: bytes) -> Iterable[dict[str, Any]]:
    """One JSON document a line, in each a list."""
    for line in output.decode(errors="replace").splitlines():
        try:
            yield from json.loads(line)
        except json.JSONDecodeError:
            continue


def _route(found: dict[str, Any]) -> Route:
    source = str(found.get("prefsrc") or found["from"])
    return Route(source=source, gateway=str(found.get("gateway", "")), device=str(found["dev"]))
