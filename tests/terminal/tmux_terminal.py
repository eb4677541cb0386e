"""A terminal that tests look at and type into as an operator does: panes of a tmux server of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import trio

DEADLINE_S = 20.0
GLANCE_S = 0.05
BIN = Path(sys.executable).parent
PROMPT = "ready$"
_READY = re.escape(PROMPT) + r"\s*\Z"


def missing() -> list[str]:
    """What is lacking, each as a phrase for the person who must supply it; empty: all is there."""
    needed = {"tmux": "Debian package tmux", "bash": "Debian package bash"}
    lacking = [f"{program} ({source})" for program, source in needed.items() if shutil.which(program) is None]
    if not (BIN / "ikeconsole").exists():
        lacking.append(f"{BIN}/ikeconsole (pip install -e .)")
    return lacking


class Pane:
    """A shell in a rectangle of the terminal, and what was started from it."""

    def __init__(self, terminal: Terminal, name: str, record: Path) -> None:
        self._terminal = terminal
        self._name = name
        self._record = record

    @property
    def written(self) -> bytes:
        """Every byte that was written to it so far."""
        return self._record.read_bytes()

    async def colours(self) -> dict[tuple[str, str], str]:
        """Its characters without the blanks, by colour and ground: "" the terminal's own, a number or R;G;B."""
        return _colours(await self._capture("-e"))

    async def ground(self, words: str, *, other_than: str = "none yet") -> str:
        """Wait until some words are shown, and on another ground than this; returns its colour."""
        return (
            _ground(await self._until(lambda text: _ground(text, words) not in (None, other_than), "-e"), words) or ""
        )

    async def run(self, command: str) -> None:
        """Give the shell a command."""
        await self.type(command)
        await self.press("Enter")

    async def type(self, text: str) -> None:
        """Type a text."""
        await self._terminal.tmux("send-keys", "-t", self._name, "-l", text)

    async def press(self, *keys: str) -> None:
        """Press keys, in tmux's names."""
        await self._terminal.tmux("send-keys", "-t", self._name, *keys)

    async def shows(self, *patterns: str) -> str:
        """Wait until it shows something for every pattern at once; returns the text then."""
        return await self._until(lambda text: all(re.search(pattern, text, re.MULTILINE) for pattern in patterns))

    async def hides(self, pattern: str) -> str:
        """Wait until it shows nothing for a pattern; returns the text then."""
        return await self._until(lambda text: not re.search(pattern, text, re.MULTILINE))

    async def resize(self, columns: int, lines: int) -> None:
        """Give its window another size."""
        await self._terminal.tmux("resize-window", "-t", self._name, "-x", str(columns), "-y", str(lines))

    async def is_left_sane(self) -> str:
        """Wait for the shell's prompt and require a terminal that is as every program should leave it."""
        await self._until(lambda text: re.search(_READY, text) is not None)
        flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_flag} #{insert_flag} #{wrap_flag}"
        assert await self._terminal.tmux("display-message", "-p", "-t", self._name, flags) == "0 1 0 0 0 1\n"
        left = await self._capture()
        await self.run('clear; test "$MODES" = "$(stty -g)" && echo unchanged || stty -a')
        await self.shows("^unchanged$", _READY)
        return left

    async def begin(self) -> None:
        """Have the shell note its terminal's modes, before anything changes them."""
        await self._until(lambda text: re.search(_READY, text) is not None)
        await self.run("MODES=$(stty -g); clear; echo noted")
        await self.shows("^noted$", _READY)

    async def _capture(self, *options: str) -> str:
        return await self._terminal.tmux("capture-pane", "-p", *options, "-t", self._name)

    async def _until(self, condition: Callable[[str], object], *options: str) -> str:
        text = ""
        with trio.move_on_after(DEADLINE_S):
            while True:
                text = await self._capture(*options)
                if condition(text):
                    return text
                await trio.sleep(GLANCE_S)
        shown = re.sub(r"\x1b\[[\d;]*m", "", text)
        raise AssertionError(f"nothing came of waiting; the pane shows:\n{shown}")


def _colours(text: str) -> dict[tuple[str, str], str]:
    told: dict[tuple[str, str], str] = {}
    ink, ground, swapped = "", "", False
    for sgr, plain in re.findall(r"\x1b\[([\d;]*)m|([^\x1b]+)", text):
        if plain:
            pair = (ground, ink) if swapped else (ink, ground)
            told[pair] = told.get(pair, "") + re.sub(r"\s", "", plain)
        else:
            ink, ground, swapped = _after(sgr, ink, ground, swapped)
    return told


def _ground(text: str, words: str) -> str | None:
    told = re.sub(r"\s", "", words)
    return next((ground for (_, ground), said in _colours(text).items() if told in said), None)


def _after(sgr: str, ink: str, ground: str, swapped: bool) -> tuple[str, str, bool]:
    """The colours, and whether they are swapped, after a sequence that selects how text is shown (ECMA-48 SGR)."""
    codes = iter(sgr.split(";"))
    for code in codes:
        match int(code or 0):
            case 0:
                ink, ground, swapped = "", "", False
            case 7 | 27 as kind:
                swapped = kind == 7
            case 38 | 48 as kind:
                colour = ";".join(next(codes) for _ in range(1 if next(codes) == "5" else 3))
                ink, ground = (colour, ground) if kind == 38 else (ink, colour)
            case 39:
                ink = ""
            case 49:
                ground = ""
            case number if 30 <= number <= 37 or 90 <= number <= 97:
                ink = str(number - 30 if number < 40 else number - 82)
            case number if 40 <= number <= 47 or 100 <= number <= 107:
                ground = str(number - 40 if number < 50 else number - 92)
    return ink, ground, swapped


class Terminal:
    """A tmux server whose shells work in a directory; what is theirs lies below it."""

    def __init__(self, directory: Path) -> None:
        self._work = directory
        directory /= "home"
        directory.mkdir()
        self.home = directory
        self._servers = count()
        self._socket = self.home / "none"
        self._environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PS1": PROMPT + " ",
        }

    async def tmux(self, *arguments: str) -> str:
        """Run a command of tmux; returns what it printed."""
        command = ["tmux", "-u", "-S", str(self._socket), "-f", "/dev/null", *arguments]
        done = await trio.run_process(command, capture_stdout=True, env=self._environment)
        return done.stdout.decode()

    async def start(self, columns: int, lines: int) -> Pane:
        """Start the server; returns its first pane."""
        # A socket of its own each time: a killed server can still listen on its own for a moment.
        self._socket = self.home / f"tmux{next(self._servers)}"
        options = ["set", "-g", "status", "off", ";", "set", "-g", "default-terminal", "tmux-256color", ";"]
        size = ["-x", str(columns), "-y", str(lines)]
        return await self._pane("start-server", ";", *options, "new-session", "-d", "-c", str(self._work), *size)

    async def split(self) -> Pane:
        """Another pane, on the right half of the window."""
        return await self._pane("split-window", "-h", "-c", str(self._work))

    async def kill(self) -> None:
        """Kill the server, if it runs: every pane's programs lose their terminal."""
        command = ["tmux", "-S", str(self._socket), "kill-server"]
        await trio.run_process(command, check=False, stderr=subprocess.DEVNULL)

    async def _pane(self, *command: str) -> Pane:
        name = (await self.tmux(*command, "-P", "-F", "#{pane_id}", "bash", "--norc", "--noprofile")).strip()
        record = self.home / f"{self._socket.name}{name}.typescript"
        record.touch()
        await self.tmux("pipe-pane", "-t", name, f"cat >> '{record}'")
        pane = Pane(self, name, record)
        await pane.begin()
        return pane


@asynccontextmanager
async def terminal(directory: Path, columns: int = 80, lines: int = 24) -> AsyncIterator[tuple[Terminal, Pane]]:
    """A terminal with one pane, which is gone afterwards."""
    one = Terminal(directory)
    try:
        yield one, await one.start(columns, lines)
    finally:
        with trio.CancelScope(shield=True):
            await one.kill()
