"""Why a file that the operator named cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path


def unwritable(error: OSError, name: str | Path) -> str:
    """What went wrong while writing the file `name`, and what to do."""
    where = Path(name).parent
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space is left in {where}: free some, or name a file on another disk"
        case errno.EROFS:
            return f"{where} is mounted read-only: name another directory, such as ~"
        case errno.EACCES | errno.EPERM:
            return f"this user may not write in {where}: name another directory, such as ~"
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no directory {where}: make it, or name another one"
        case errno.ENAMETOOLONG:
            return "the name is too long: shorten it"
        case _:
            return f"{error.strerror or error}: name another file, or see whether the disk under {where} is in order"
