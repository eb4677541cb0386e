"""Keeps the engine of this process going, with its console and without."""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from engine.logs import LogFile
from ikeconsole.exits import Exit
from ikeconsole.process.departure import Departure
from ikeconsole.process.hosting import Hosted
from ikeconsole.process.launch import Parent
from ikeconsole.process.notices import Notice, Notices
from ikeconsole.process.terminal import Terminal
from ikeconsole.process.turns import quick_turns

log = logging.getLogger(__name__)


class Keeper:
    """Obeys the operator and signals on a thread of its own, so that nothing the console does can keep it from it."""

    def __init__(
        self,
        hosted: Hosted,
        departure: Departure,
        notices: Notices,
        parent: Parent,
        terminal: Terminal,
        log_file: LogFile,
        command: str,
    ) -> None:
        self._hosted = hosted
        self._departure = departure
        self._notices = notices
        self._parent = parent
        self._terminal = terminal
        self._log_file = log_file
        self._command = command

    def keep(self) -> int:
        """Show the console, then do what follows from how it was left; returns the exit code when the engine ended."""
        self._log_file.take_stderr()
        with ThreadPoolExecutor(1, thread_name_prefix="keeper") as executor:
            keeping = executor.submit(self._keep)
            with quick_turns():
                self._departure.show(may_suspend=False)
            return keeping.result()

    def _keep(self) -> int:
        left = True
        if self._departure.wait() != Notice.CONSOLE_LEFT:
            # From here on nothing that is sent to the terminal's processes means this one.
            os.setsid()
            left = self._departure.send_off()
        if left and self._departure.choice == "stop":
            self._hosted.stop()
        if self._hosted.ended:
            code, message = self._verdict()
            self._dismiss_parent(code, message)
        else:
            self._go_on()
            code, _ = self._verdict()
        if not left:
            # The main thread will never come to its end.
            logging.shutdown()
            os._exit(code)
        return code

    def _go_on(self) -> None:
        """Run without a console, obeying signals as `ikeconsole engine` does, until the engine has ended."""
        pid = os.getpid()
        if os.getsid(0) != pid:
            os.setsid()
        message = f"The engine goes on, pid {pid}: `{self._command}` shows it again, `kill {pid}` stops it."
        if self._departure.broke:
            message = f"The console broke; {self._log_file.path} says why.\n{message}"
        log.info("the engine goes on without a console")
        self._dismiss_parent(Exit.FAILED if self._departure.broke else Exit.OK, message)
        self._terminal.forsake()
        while not self._hosted.ended:
            match self._notices.next():
                case signal.SIGHUP:
                    self._hosted.reload()
                case signal.SIGTERM | signal.SIGINT as number:
                    log.info("stopping on %s", signal.Signals(number).name)
                    self._hosted.stop()
                case _:
                    # The terminal and what else was watched for the console's sake.
                    continue

    def _verdict(self) -> tuple[Exit, str]:
        if self._hosted.failure is None:
            return Exit.OK, "The engine has stopped."
        return Exit.FAILED, f"The engine has ended: {self._hosted.reason}; its log is {self._log_file.path}"

    def _dismiss_parent(self, code: Exit, message: str) -> None:
        self._parent.dismiss(code, message, reset_screen=self._terminal.taken)
