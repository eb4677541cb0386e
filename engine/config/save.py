"""Writing a changed configuration: all of it or nothing, and never over somebody else's change."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from engine.config.load import Loaded, digest_of, parse, read_text
from engine.config.problems import ConfigError


class ConflictError(Exception):
    """The file on disk is no longer the one that was loaded; nothing was written.

    `difference` is a unified diff from the loaded text to the text on disk.
    """

    def __init__(self, path: Path, difference: str) -> None:
        super().__init__(f"{path} was changed on disk meanwhile: load it again, then repeat the change")
        self.path = path
        self.difference = difference


class SaveError(Exception):
    """The file could not be written; what stood in it still stands there."""


def save(loaded: Loaded, text: str) -> Loaded:
    """Put `text` in place of `loaded` on disk, keeping the file's mode and owner.

    The file is replaced in one step, so that a crash leaves the old or the new one, whole. A symbolic link
    stays, and the file it leads to is replaced. Raises `ConfigError` when `text` is not valid, `ConflictError`
    when the file is no longer what was loaded, `SaveError` when it cannot be written.
    """
    config = parse(text, loaded.path)
    try:
        on_disk = read_text(loaded.path)
    except ConfigError as error:
        raise SaveError(f"{'; '.join(error.lines())}; nothing was saved") from error
    if on_disk != loaded.text:
        raise ConflictError(loaded.path, difference(loaded.text, on_disk, "loaded", "on disk"))
    try:
        replace_file(loaded.path, text.encode())
    except OSError as error:
        raise SaveError(f"{loaded.path} was not saved: {os_remedy(error, loaded.path.resolve().parent)}") from error
    return Loaded(loaded.path, text, config, digest_of(text))


def difference(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff from one text to another; empty when they are alike."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, lineterm="")
    return "\n".join(lines)


def replace_file(path: Path, content: bytes) -> None:
    """Give the file at `path` a new content in one step that survives a crash; makes it if there is none.

    Raises `OSError`; the file is then as it was, with nothing left beside it.
    """
    target = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _copy_ownership(target, descriptor)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    with suppress(OSError):  # the new file is in place: only a power cut within seconds could undo that
        _sync_directory(target.parent)


def _copy_ownership(source: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        kept, made = source.stat(), os.fstat(descriptor)
        if (kept.st_uid, kept.st_gid) != (made.st_uid, made.st_gid):
            os.fchown(descriptor, kept.st_uid, kept.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(kept.st_mode))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def os_remedy(error: OSError, directory: Path) -> str:
    """What went wrong while writing a file in `directory`, and what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space is left for {directory}: free some, then save again"
        case errno.EROFS:
            return f"{directory} is mounted read-only: mount it writable, or keep the file elsewhere"
        case errno.EACCES | errno.EPERM:
            return f"this user may not write in {directory} or keep the owner: run as the owner of both, or as root"
        case errno.ENOENT | errno.ENOTDIR:
            return f"the directory {directory} is gone: make it again"
        case errno.EMFILE | errno.ENFILE:
            return f"no more files may be opened ({error.strerror}): raise the limit of open files"
        case errno.EBUSY:
            return f"the file itself is a mount point: mount its directory {directory} instead"
        case _:
            return f"{error.strerror or error}: see whether the disk under {directory} is in order"
