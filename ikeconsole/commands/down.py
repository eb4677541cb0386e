"""down: every trace of an engine removed from this machine, also of one that was killed."""

from __future__ import annotations

import os
import signal
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import control_socket, state_dir

PATIENCE_S: Final = 60.0
LOOKED_EVERY_S: Final = 0.1


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Whether to stop an engine that runs."""
    parser.add_argument("--stop", action="store_true", help="stop the engine first, if it runs")


def execute(options: Namespace) -> int:
    """Remove it, and say what was there."""
    from engine.survival.lock import running
    from engine.survival.orphans import take_down

    directory = state_dir(options)
    if os.geteuid() != 0:
        raise Failure(Exit.NO_RIGHT, "down removes rules and programs from the kernel: run it as root")
    if (pid := running(directory)) is not None:
        if not options.stop or not pid:
            named = f" (pid {pid})" if pid else ""
            raise Failure(
                Exit.FAILED,
                f"the engine{named} runs: its tunnels would end. Stop it first (systemctl stop ikeconsole), "
                "or say --stop",
            )
        _stop(pid, directory)
    done = trio.run(take_down, directory, control_socket(options))
    print("\n".join(f"removed {what}" for what in done) or "there was nothing to remove")
    return Exit.OK


def _stop(pid: int, directory: Path) -> None:
    from engine.survival.lock import running

    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until_s = time.monotonic() + PATIENCE_S
    while running(directory) is not None:
        if time.monotonic() > until_s:
            raise Failure(
                Exit.FAILED, f"the engine (pid {pid}) was told to stop and still runs after {PATIENCE_S:.0f} s"
            )
        time.sleep(LOOKED_EVERY_S)
