"""The demo: a real engine on loopback between simulated clients and simulated real servers, for any user."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from engine.net.sockets import BindError
from engine.runtime import StartError
from ikeconsole.demo import display, simulation
from ikeconsole.demo.layout import Layout, choose_ports
from ikeconsole.exits import Exit, Failure

_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

log = logging.getLogger(__name__)


def run() -> int:
    """Show the demo until SIGINT, SIGTERM or SIGHUP; returns 0.

    Raises:
        Failure: a port is taken, or the demo broke; then its directory stays, with the log.
    """
    with ExitStack() as cleanup:
        directory = Path(tempfile.mkdtemp(prefix="ikeconsole-demo-"))
        cleanup.callback(shutil.rmtree, directory)
        log_file = directory / "log"
        with _logging_to(log_file):
            try:
                layout = Layout(directory, *choose_ports())
                layout.write_configuration()
                trio.run(_run, layout)
            except (BindError, StartError) as error:
                raise Failure(Exit.NO_RIGHT, f"the demo cannot start: {error}") from error
            except Exception as error:
                log.exception("the demo broke")
                cleanup.pop_all()
                raise Failure(Exit.FAILED, "the demo broke", [f"the log says why: {log_file}"]) from error
    return Exit.OK


async def _run(layout: Layout) -> None:
    stopping = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with stopping as interrupted, simulation.running(layout):
        await display.show(layout.control_socket, interrupted)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Keep the log off the terminal."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()
