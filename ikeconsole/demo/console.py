"""The console of the demo, which says what is shown and what to try."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from ikeconsole.app import ConsoleApp
from ikeconsole.demo.layout import Layout
from ikeconsole.exits import Exit
from ikeconsole.process.attached import show_until_left
from ikeconsole.process.departure import Departure
from ikeconsole.process.notices import Notices
from ikeconsole.process.terminal import Terminal

INTRODUCTION: Final = (
    "All on loopback: clients roam, servers fail. Try 2 and Enter (a session), 3 and d (drain a server), "
    "a (alarms), i (from another terminal), ? (all keys)."
)
READ_WITHIN_S: Final = 15.0


class DemoConsole(ConsoleApp):
    """The console with an introduction; Textual calls the handlers of both classes."""

    SUB_TITLE = "demo"

    def on_mount(self) -> None:
        """Say what this is."""
        self.notify(INTRODUCTION, title="A simulation", timeout=READ_WITHIN_S, markup=False)


def show(layout: Layout, terminal: Terminal, notices: Notices) -> None:
    """Show the console until the operator leaves it, or it must go with its terminal or by a signal.

    Raises:
        RuntimeError: the console broke; the log says why.
    """
    departure = Departure(DemoConsole(layout.control_socket), terminal, notices)
    show_until_left(departure, terminal, at_worst=partial(_give_up, layout.directory))
    if departure.broke:
        raise RuntimeError("the console broke")


def _give_up(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(Exit.FAILED)
