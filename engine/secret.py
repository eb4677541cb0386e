"""The per-install secret that keys every hash which spreads clients."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from engine.own_file import open_own

SECRET_BYTES = 32
_COST = "hashes spread clients anew after each start, until the engine's user can read and write it"

log = logging.getLogger(__name__)


def install_secret(state_dir: Path) -> bytes:
    """The installation's secret, made at the first start; without a writable state directory, one for this run."""
    path = state_dir / "secret"
    try:
        with open_own(path) as file:
            kept = file.read(SECRET_BYTES + 1)
        if len(kept) == SECRET_BYTES:
            return kept
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s cannot be read (%s): %s", path, error.strerror, _COST)
        return secrets.token_bytes(SECRET_BYTES)
    fresh = secrets.token_bytes(SECRET_BYTES)
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(fresh)
    except OSError as error:
        log.warning("%s cannot be written (%s): %s", path, error.strerror, _COST)
    return fresh
