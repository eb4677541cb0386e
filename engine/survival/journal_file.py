"""A journal on disk while it is written: nobody reads it under its name before it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.survival.journal import first_line

_FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class JournalFile:
    """Written beside its path, put in its place by `publish`, then appended to; everything raises OSError.

    It is opened for each append anew: then a file that somebody took away is missed at once.
    """

    def __init__(self, path: Path) -> None:
        self._published = path
        self._path = path.with_name(f".{path.name}.new")
        # Who is connected from where is nobody else's business, nor is the file one that somebody else put there.
        self._path.unlink(missing_ok=True)
        os.close(os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600))
        self.size_bytes = 0
        try:
            self.append(first_line())
        except OSError:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Write after what is there; what a full disk leaves of it is torn, and the file of no further use."""
        with _opened(self._path, _FLAGS | os.O_APPEND) as descriptor:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        self.size_bytes += len(data)

    def publish(self) -> None:
        """Put it in its place in one step that survives a power cut."""
        with _opened(self._path, _FLAGS) as descriptor:
            os.fsync(descriptor)
        os.replace(self._path, self._published)
        self._path = self._published
        with _opened(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as directory:
            os.fsync(directory)

    def close(self) -> None:
        """Write no more; one that was never published leaves nothing behind."""
        if self._path != self._published:
            with suppress(OSError):
                self._path.unlink()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
