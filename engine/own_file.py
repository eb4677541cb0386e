"""Reads back what the engine has kept: from a file that nobody else can have put there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_own(path: Path) -> Iterator[BinaryIO]:
    """A file of this user, of root, or of whoever the directory belongs to, to be read.

    Raises:
        OSError: it cannot be read, or is a link, no ordinary file, or somebody else's.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
    with open(descriptor, "rb") as file:
        if found.st_uid not in (0, os.geteuid(), path.parent.stat().st_uid):
            raise PermissionError(errno.EPERM, "another user put it there", str(path))
        if found.st_mode & stat.S_IWOTH:
            raise PermissionError(errno.EPERM, "every user may write it", str(path))
        yield file
