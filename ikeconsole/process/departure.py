"""The console's end: run to where the operator leaves it, or made to go when it must."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from io import StringIO
from typing import Final, Protocol

from rich.console import Console
from textual.driver import Driver

from ikeconsole.process.driver import driver_on
from ikeconsole.process.notices import Notice, Notices
from ikeconsole.process.terminal import Terminal

ASK_AGAIN_S: Final = 0.2
PATIENCE_S: Final = 1.0
"""How long a console may take to put the terminal in order before what it still writes is dropped."""
DEADLINE_S: Final = 5.0
"""How long a console may take to go before the rest happens without it."""

log = logging.getLogger(__name__)


class ConsoleApp(Protocol):
    """What must be known of the console here."""

    driver_class: type[Driver]
    error_console: Console
    quit_choice: str

    @property
    def return_code(self) -> int | None:
        """Not 0 when it broke."""

    def run(self) -> object:
        """Show it on the main thread until it is left."""

    def leave_soon(self) -> None:
        """Have it left, from any thread, whenever and however often."""


class Departure:
    """One console on a terminal, shown by the main thread while another sees to it that it goes in time."""

    def __init__(self, app: ConsoleApp, terminal: Terminal, notices: Notices) -> None:
        self.cause = 0
        """The signal or notice for which the console had to go; 0: the operator left."""
        self.broke = False
        """Whether it ended by an error of its own, which is in the log."""
        self._app = app
        self._terminal = terminal
        self._notices = notices
        notices.watch(terminal.fileno(), 0, Notice.TERMINAL_LOST)

    @property
    def choice(self) -> str:
        """What the operator chose to become of the engine: stop, background, or nothing."""
        return self._app.quit_choice

    def show(self, *, may_suspend: bool) -> None:
        """Show the console until it is left; on the main thread."""
        app, errors = self._app, StringIO()
        app.driver_class = driver_on(self._terminal, self._notices, may_suspend=may_suspend)
        app.error_console = Console(file=errors, width=120, markup=False, highlight=False)
        try:
            app.run()
            self.broke = bool(app.return_code)
        except Exception:
            log.exception("the console broke")
            self.broke = True
        finally:
            if told := errors.getvalue():
                log.error("%s", told)
            self._notices.add(Notice.CONSOLE_LEFT)

    def wait(self) -> int:
        """Wait until the operator leaves or something else happens that matters; returns the signal or notice."""
        while (notice := self._notices.next()) in (Notice.ENGINE_READY, Notice.ENGINE_ENDED, None):
            # A console whose engine ended says so itself, and the operator reads it.
            pass
        if notice != Notice.CONSOLE_LEFT:
            self.cause = notice
        return notice

    def send_off(self) -> bool:
        """Make the console go; returns whether it did. Signals that come meanwhile mean the same, and are dropped."""
        began_s = time.monotonic()
        while (elapsed_s := time.monotonic() - began_s) < DEADLINE_S:
            with suppress(RuntimeError):
                # Raised when it has just ended by itself and its event loop is closed.
                self._app.leave_soon()
            if elapsed_s > PATIENCE_S:
                self._terminal.abandon()
            if self._notices.next(ASK_AGAIN_S) == Notice.CONSOLE_LEFT:
                return True
        log.error("the console did not end within %.0f s", DEADLINE_S)
        return False
