"""Shows the console of an engine that runs in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.logs import open_log_file, set_up_logging
from engine.paths import default_state_dir
from ikeconsole.app import ConsoleApp
from ikeconsole.exits import Exit
from ikeconsole.process.departure import Departure
from ikeconsole.process.notices import Notice, Notices
from ikeconsole.process.terminal import Terminal


def attach(control_socket: Path, terminal: Terminal, *, read_only: bool) -> int:
    """Show the console until it is left, or must go with its terminal; returns the exit code."""
    log_file = open_log_file(default_state_dir() / "console.log")
    set_up_logging("info", log_file)
    log_file.take_stderr()
    departure = Departure(ConsoleApp(control_socket, read_only=read_only), terminal, Notices())
    show_until_left(departure, terminal, at_worst=lambda: os._exit(_code(departure)))
    if departure.broke:
        terminal.write(f"The console broke; {log_file.path} says why. The engine is not concerned.\n")
        return Exit.FAILED
    return _code(departure)


def show_until_left(departure: Departure, terminal: Terminal, *, at_worst: Callable[[], None]) -> None:
    """Show a console whose engine needs no care, and give the terminal back.

    `at_worst` ends the process, from another thread, when the main thread will never come to its end.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="departure") as executor:
        watching = executor.submit(_see_off, departure, terminal, at_worst)
        departure.show(may_suspend=True)
        watching.result()
    terminal.restore(screen=terminal.taken)


def _see_off(departure: Departure, terminal: Terminal, at_worst: Callable[[], None]) -> None:
    if departure.wait() != Notice.CONSOLE_LEFT and not departure.send_off():
        terminal.restore(screen=False)
        at_worst()


def _code(departure: Departure) -> int:
    match departure.cause:
        case 0:
            return Exit.OK
        case Notice.TERMINAL_LOST:
            return 128 + signal.SIGHUP
        case number:
            return 128 + number
