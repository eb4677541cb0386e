"""Starts an engine and shows its console beside it, in one process."""

from __future__ import annotations

import select
import signal
import sys
from argparse import Namespace

from engine.config.load import load
from engine.config.problems import ConfigError
from engine.logs import open_log_file, set_up_logging
from engine.paths import state_dir_of
from engine.runtime import StartError
from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import config_path
from ikeconsole.process.departure import Departure
from ikeconsole.process.hosting import Hosted
from ikeconsole.process.keeping import Keeper
from ikeconsole.process.launch import Parent
from ikeconsole.process.notices import OBEYED, Notice, Notices
from ikeconsole.process.terminal import Terminal


def host(options: Namespace, terminal: Terminal, parent: Parent) -> int:
    """Run an engine until it is stopped, its console first beside it; returns the exit code.

    Raises:
        Failure: the engine cannot start.
    """
    try:
        loaded = load(config_path(options))
    except ConfigError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return Exit.BAD_CONFIG
    settings = loaded.config.engine
    log_file = open_log_file(state_dir_of(settings.state_dir) / "engine.log")
    set_up_logging(settings.log_level, log_file)
    notices = Notices()
    notices.watch(parent.fileno(), select.POLLIN, Notice.TERMINAL_LOST)
    hosted = Hosted(loaded, notices.add)
    hosted.start()
    try:
        # While the engine starts: this takes longer.
        from ikeconsole.app import ConsoleApp

        _wait_until_ready(hosted, notices)
        app = ConsoleApp(hosted.control_socket, read_only=options.read_only, hosted=hosted)
        departure = Departure(app, terminal, notices)
    except BaseException:
        hosted.stop()
        raise
    again = f"ikeconsole -c {options.config}" if options.config else "ikeconsole"
    return Keeper(hosted, departure, notices, parent, terminal, log_file, again).keep()


def _wait_until_ready(hosted: Hosted, notices: Notices) -> None:
    """Wait for the engine; whoever interrupts that gets no engine, for it carries nothing yet."""
    notice = notices.next()
    if notice == Notice.ENGINE_READY:
        return
    hosted.stop()
    match hosted.failure:
        case None:
            # The terminal, or whoever keeps it for us, may be gone before the signal for that is here.
            sys.exit(128 + (notice if notice in OBEYED else signal.SIGHUP))
        case StartError() as error:
            raise Failure(Exit.NO_RIGHT, str(error))
        case error:
            raise Failure(Exit.FAILED, f"the engine broke as it started: {hosted.reason}") from error
