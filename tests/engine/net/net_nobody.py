"""What an ordinary user is told, tried for real by a child that gives root's rights up."""

from __future__ import annotations

import os
from collections.abc import Callable

NOBODY = 65_534


def told_as_nobody(action: Callable[[], object]) -> str:
    """The error of an action without privileges, as "Type: message"; "nothing" when it succeeds."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        told = "nothing"
        try:
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            action()
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write_end, told.encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as told_to_us:
        return told_to_us.read().decode()
