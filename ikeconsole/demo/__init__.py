"""The demo: a real engine on loopback between simulated clients and simulated real servers, for any user."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from engine.logs import LogFile, open_log_file, set_up_logging
from engine.net.sockets import BindError
from engine.runtime import StartError
from ikeconsole.demo import display, simulation
from ikeconsole.demo.layout import Layout, choose_ports
from ikeconsole.exits import Exit, Failure
from ikeconsole.process.notices import Notices
from ikeconsole.process.terminal import Terminal

_NO_SCREEN = ("", "dumb", "unknown")

log = logging.getLogger(__name__)


def run() -> int:
    """Show the demo until the operator leaves it, or SIGINT, SIGTERM or SIGHUP; returns 0.

    Raises:
        Failure: a port is taken, or the demo broke; then its directory stays, with the log.
    """
    terminal = _terminal()
    # Before there is anything to clean up: from here on no signal ends it halfway.
    notices = Notices() if terminal else None
    with ExitStack() as cleanup:
        directory = Path(tempfile.mkdtemp(prefix="ikeconsole-demo-"))
        cleanup.callback(shutil.rmtree, directory)
        with _logging_to(directory / "log") as log_file:
            try:
                layout = Layout(directory, *choose_ports())
                layout.write_configuration()
                if terminal and notices:
                    _show_console(layout, terminal, notices, log_file)
                else:
                    trio.run(_print_pages, layout)
            except (BindError, StartError) as error:
                raise Failure(Exit.NO_RIGHT, f"the demo cannot start: {error}") from error
            except Exception as error:
                log.exception("the demo broke")
                cleanup.pop_all()
                raise Failure(Exit.FAILED, "the demo broke", [f"the log says why: {log_file.path}"]) from error
    return Exit.OK


def _terminal() -> Terminal | None:
    """The terminal, if a console can be shown on it."""
    if os.environ.get("TERM", "") in _NO_SCREEN or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        terminal = Terminal()
    except OSError:
        return None
    return terminal if terminal.in_foreground() else None


def _show_console(layout: Layout, terminal: Terminal, notices: Notices, log_file: LogFile) -> None:
    with simulation.running(layout):
        # While the clients arrive: this takes longer.
        from ikeconsole.demo.console import show

        log_file.take_stderr()
        show(layout, terminal, notices)


async def _print_pages(layout: Layout) -> None:
    stopping = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with stopping as interrupted, simulation.running(layout):
        await display.show(layout.control_socket, interrupted)


@contextmanager
def _logging_to(path: Path) -> Iterator[LogFile]:
    """Keep the log off the terminal, and give standard error back if the log file has taken it."""
    root = logging.getLogger()
    before, level, stderr = root.handlers[:], root.level, os.dup(2)
    log_file = open_log_file(path)
    set_up_logging("info", log_file)
    try:
        yield log_file
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        os.dup2(stderr, 2)
        os.close(stderr)
        log_file.close()
