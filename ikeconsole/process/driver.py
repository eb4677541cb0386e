"""Textual's terminal driver for a console that must be able to go at any moment."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, cast

from textual.drivers.linux_driver import LinuxDriver

from ikeconsole.process.notices import Notice, Notices
from ikeconsole.process.terminal import Terminal


def driver_on(terminal: Terminal, notices: Notices, *, may_suspend: bool) -> type[LinuxDriver]:
    """The driver for a terminal; without `may_suspend` nothing stops the process, Ctrl+Z and SIGTSTP neither."""

    class ConsoleDriver(LinuxDriver):
        """Writes to the terminal that can be abandoned, and tells when it cannot be read any more."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._file = cast(TextIOWrapper, terminal)

        @property
        def can_suspend(self) -> bool:
            """Whether Ctrl+Z may stop this process."""
            return may_suspend

        def start_application_mode(self) -> None:
            """Take the terminal."""
            terminal.taken = True
            super().start_application_mode()  # type: ignore[no-untyped-call]
            if not may_suspend:
                # Textual has set these to stop the process.
                signal.signal(signal.SIGTTIN, signal.SIG_IGN)
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)

        def run_input_thread(self) -> None:
            """Read keys until told to end, or until the terminal cannot be read."""
            with suppress(OSError):
                super().run_input_thread()
                return
            notices.add(Notice.TERMINAL_LOST)

        def close(self) -> None:
            """Have everything written."""
            super().close()
            terminal.gave_back()

        def _sigtstp_application(self, *_: object) -> None:
            if may_suspend:
                super()._sigtstp_application()

        def _get_terminal_size(self) -> tuple[int, int]:
            try:
                size = os.get_terminal_size(terminal.fileno())
            except OSError:
                return 80, 24
            return size.columns, size.lines

    return ConsoleDriver
