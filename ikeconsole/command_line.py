"""How this engine is asked from elsewhere."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path


def command_line(argv0: str, socket: Path) -> str:
    """How a command line to the engine of a control socket begins; `argv0` is how this program was called."""
    may_be_typed = shutil.which("ikeconsole") or Path(argv0).name != "ikeconsole"
    return shlex.join(["ikeconsole" if may_be_typed else argv0, "--socket", str(socket)])
