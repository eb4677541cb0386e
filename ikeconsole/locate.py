"""Where this run's configuration file and control socket are."""

from __future__ import annotations

import tomllib
from argparse import Namespace
from pathlib import Path

from engine.paths import SYSTEM_CONTROL_SOCKET, default_control_socket, default_state_dir, find_config
from ikeconsole.exits import Exit, Failure


def config_path(options: Namespace) -> Path:
    """The file of -c, or where a configuration is looked for without it."""
    return Path(options.config) if options.config else find_config()


def control_socket(options: Namespace) -> Path:
    """The socket of --socket, else the configuration's, else the default; raises `Failure` for a bad -c."""
    if options.socket:
        return Path(options.socket)
    return _configured(options, "control_socket") or _default_socket()


def state_dir(options: Namespace) -> Path:
    """The configuration's state directory, else the default; raises `Failure` for a bad -c."""
    return _configured(options, "state_dir") or default_state_dir()


def _configured(options: Namespace, key: str) -> Path | None:
    """What the file says, even where the rest of it would not validate: the engine may run an older state of it."""
    path = config_path(options)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if options.config:
            from engine.config.load import unreadable

            raise Failure(Exit.BAD_CONFIG, f"{path}: {unreadable(error)}") from error
        return None
    except (ValueError, RecursionError):
        return None
    match tables:
        case {"engine": {**settings}}:
            named = settings.get(key)
            return Path(named) if isinstance(named, str) and named else None
        case _:
            return None


def _default_socket() -> Path:
    """This user's own engine if there is one, else the system's."""
    own = default_control_socket()
    return own if own.exists() or not SYSTEM_CONTROL_SOCKET.exists() else SYSTEM_CONTROL_SOCKET
