"""The command line with a stand-in for the console's screens: keys choose how it is left, or how it breaks.

Run as a program by the tests of what is around the console.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import trio
from textual.app import App, ComposeResult
from textual.widgets import Static

from ikeconsole.main import run
from ikeconsole.process import departure, hosting
from ikeconsole.process.hosting import Hosted


class ConsoleApp(App[None]):
    def __init__(self, socket: Path, *, read_only: bool = False, hosted: Hosted | None = None) -> None:
        super().__init__()
        self._hosted = hosted
        self.quit_choice = ""
        self._facts = f"SHOWN {read_only=} hosted={hosted is not None} pid={os.getpid()}"

    def compose(self) -> ComposeResult:
        yield Static(self._facts)

    def leave_soon(self) -> None:
        self.call_later(self.exit)

    async def on_key(self, event: object) -> None:
        match getattr(event, "key", ""):
            case "s":
                self.quit_choice = "stop"
                self.exit()
            case "b":
                self.quit_choice = "background"
                self.exit()
            case "x":
                raise ZeroDivisionError("a screen broke")
            case "k":
                os.kill(os.getpid(), signal.SIGKILL)
            case "l":
                self._flood()
            case "h":
                _hang()
            case "d":
                assert self._hosted is not None
                self._hosted._token.result().run_sync_soon(lambda: 1 // 0)
            case "e":
                _log("a stray word")
                self.query_one(Static).update("STRAYED")

    def _flood(self) -> None:
        """Draw more than a terminal takes that is not read."""
        driver = self._driver
        assert driver is not None
        _log("FLOODING")
        for _ in range(200):
            driver.write("~" * 4096)
        _log("FLOODED")


def _hang() -> None:
    _log("HANGING")
    while True:
        time.sleep(3600)


def _log(word: str) -> None:
    os.write(2, f"{word}\n".encode())


async def never_ready(*_arguments: object, **_options: object) -> None:
    print("HELD", flush=True)
    await trio.sleep_forever()


if "STANDIN_NEVER_READY" in os.environ:
    hosting.serve_forever = never_ready
if "STANDIN_DEADLINE_S" in os.environ:
    departure.DEADLINE_S = float(os.environ["STANDIN_DEADLINE_S"])
app = ModuleType("ikeconsole.app")
app.__dict__["ConsoleApp"] = ConsoleApp
sys.modules["ikeconsole.app"] = app

if __name__ == "__main__":
    run()
