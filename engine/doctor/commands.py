"""Programs of this machine that know more, asked with patience that ends."""

from __future__ import annotations

import subprocess
from typing import Final

import trio

PATIENCE_S: Final = 5.0

_PACKAGES: Final = {"nft": "nftables", "ip": "iproute2"}


class CommandError(Exception):
    """A program did not do what it was asked; the message says why, and what to do."""


class Denied(CommandError):
    """It may not be asked by this user."""


async def ask(*command: str, stdin: str = "") -> str:
    """What a program prints.

    Raises:
        Denied: the user lacks the right.
        CommandError: it is missing, hangs, or says that something is wrong.
    """
    said: subprocess.CompletedProcess[bytes] | None = None
    with trio.move_on_after(PATIENCE_S):
        try:
            said = await trio.run_process(
                command, stdin=stdin.encode(), check=False, capture_stdout=True, capture_stderr=True
            )
        except OSError as error:
            package = _PACKAGES.get(command[0], command[0])
            raise CommandError(
                f"{command[0]} cannot be run ({error.strerror}): install the package {package}"
            ) from None
    if said is None:
        raise CommandError(f"`{' '.join(command)}` did not end within {PATIENCE_S:g} s")
    if said.returncode:
        complaint = said.stderr.decode(errors="replace").strip()
        if "ermitted" in complaint or "ermission" in complaint or "must be root" in complaint:
            raise Denied(complaint)
        raise CommandError(f"`{' '.join(command)}` failed: {complaint.splitlines()[0] if complaint else 'no word why'}")
    return said.stdout.decode(errors="replace")
