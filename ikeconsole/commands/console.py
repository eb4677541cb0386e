"""The console: of the engine that runs, or of one that it starts in its own process; attach is the former only."""

from __future__ import annotations

import os
import socket
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path

from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import config_path, control_socket
from ikeconsole.process.terminal import Terminal

_SHORT_HELP = """\
No engine answers here. To begin:
  ikeconsole demo      see it live on this machine, as any user
  ikeconsole init      write a first configuration
  ikeconsole           then shows the console, and starts an engine with it
  ikeconsole engine    runs the engine without a console
  ikeconsole --help    all commands"""


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Whether one may only look."""
    parser.add_argument("--read-only", action="store_true", default=SUPPRESS, help="offer nothing that changes things")


def execute(options: Namespace) -> int:
    """Show the console until it is left; without a terminal, print what `ikeconsole status` prints."""
    path = control_socket(options)
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if options.command == "attach" or options.socket or _answers(path):
        return _attach(options, path) if at_terminal else _print_status(options)
    if not at_terminal or not (options.config or config_path(options).exists()):
        # Not a failure: who has no configuration yet asked how to begin.
        print(_SHORT_HELP)
        return Exit.OK
    terminal = _terminal()
    from ikeconsole.process.launch import leave_parent_waiting

    # Nothing more is loaded before: what the parent has, it has for as long as the console lives.
    parent = leave_parent_waiting(terminal)
    from ikeconsole.process.beside import host

    return host(options, terminal, parent)


def _answers(path: Path) -> bool:
    """Whether an engine listens at a socket, be it one that this user has no right to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
    return True


def _print_status(options: Namespace) -> int:
    from ikeconsole.commands import show

    options.command, options.json, options.watch = "status", False, None
    return show.execute(options)


def _attach(options: Namespace, path: Path) -> int:
    from ikeconsole.commands.asking import ask

    async def nothing(_client: object) -> None:
        """To be let in is enough."""

    ask(options, nothing)
    terminal = _terminal()
    from ikeconsole.process.attached import attach

    return attach(path, terminal, read_only=options.read_only)


def _terminal() -> Terminal:
    """The terminal, if a console can be shown on it."""
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb", "unknown"):
        raise Failure(
            Exit.FAILED,
            f"this terminal (TERM={kind}) cannot show the console",
            [
                "`ikeconsole status --watch` and `ikeconsole events --follow` need nothing of a terminal;",
                "`ikeconsole engine` runs an engine; if the terminal can do more than it says: TERM=xterm ikeconsole",
            ],
        )
    try:
        terminal = Terminal()
    except OSError as error:
        advice = ["run it at a terminal (`ssh -t` from afar); `ikeconsole engine` and `ikeconsole status` need none"]
        raise Failure(Exit.FAILED, f"the terminal cannot be opened: {error.strerror}", advice) from error
    if not terminal.in_foreground():
        advice = ["bring it to the front (fg), or use `ikeconsole engine` to run without a console"]
        raise Failure(Exit.FAILED, "a console cannot be shown from the background", advice)
    return terminal
