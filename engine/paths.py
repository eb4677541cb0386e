"""Where files are looked for and kept when the configuration does not say."""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM_CONFIG = Path("/etc/ikeconsole/config.toml")
SYSTEM_CONTROL_SOCKET = Path("/run/ikeconsole/control.sock")


def default_control_socket() -> Path:
    """The control socket of root's engine or of the one that systemd runs, or of this user's."""
    if os.geteuid() == 0:
        return SYSTEM_CONTROL_SOCKET
    # RuntimeDirectory= and StateDirectory= of systemd.exec(5).
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given, "control.sock")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # Never below /tmp: anybody could be there first, under a name that is easy to guess.
    return Path(runtime, "ikeconsole", "control.sock") if runtime else default_state_dir() / "control.sock"


def default_state_dir() -> Path:
    """The state directory of root's engine or of the one that systemd runs, or of this user's."""
    if os.geteuid() == 0:
        return Path("/var/lib/ikeconsole")
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "ikeconsole"


def state_dir_of(configured: str) -> Path:
    """The state directory of an engine by its configuration, which may leave it empty."""
    return Path(configured) if configured else default_state_dir()


def find_config() -> Path:
    """The configuration file used without -c: $IKECONSOLE_CONFIG, the system's, or ./config.toml if it is one's own."""
    if named := os.environ.get("IKECONSOLE_CONFIG"):
        return Path(named)
    at_hand = Path("config.toml")
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() or _is_planted(at_hand) else at_hand


def _is_planted(path: Path) -> bool:
    """Whether a file is neither this user's, nor root's, nor of who called sudo: it can name programs to run."""
    own = {"0", str(os.geteuid())}
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        own.add(os.environ["SUDO_UID"])
    try:
        return str(path.stat().st_uid) not in own
    except OSError:
        return False
