"""An engine on a thread of its own, in the process of the console that started it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from engine.config.load import Loaded
from engine.control.api import Refused
from engine.operations import Operations
from engine.paths import default_control_socket
from engine.runtime import StartError, serve_forever
from ikeconsole.process.notices import Notice

STOP_DEADLINE_S: Final = 30.0
"""How long an engine may take to end its sessions before the process ends without it."""

log = logging.getLogger(__name__)


class Hosted:
    """The engine of this process; its methods are called from other threads than its own."""

    def __init__(self, loaded: Loaded, tell: Callable[[Notice], None]) -> None:
        named = loaded.config.engine.control_socket
        self.control_socket = Path(named) if named else default_control_socket()
        self.failure: BaseException | None = None
        """Why it ended, if nobody stopped it."""
        self._loaded = loaded
        self._tell = tell
        self._scope = trio.CancelScope()
        self._token: Future[trio.lowlevel.TrioToken] = Future()
        self._operations: Operations | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended.is_set()

    @property
    def reason(self) -> str:
        """Why it ended, in words."""
        match self.failure:
            case None:
                return "it was stopped"
            case StartError() as error:
                return str(error)
            case error:
                return f"{type(error).__name__}: {error}"

    def start(self) -> None:
        """Begin; ENGINE_READY or ENGINE_ENDED tells how that went."""
        self._thread.start()

    def reload(self) -> None:
        """Apply the configuration file; a file that is not valid changes nothing and is logged."""
        if self._operations is None:
            return
        try:
            trio.from_thread.run(self._operations.reload, "SIGHUP", trio_token=self._token.result())
        except Refused as refusal:
            for line in refusal.details or [refusal.message]:
                log.error("%s", line)
        except (trio.RunFinishedError, trio.Cancelled):
            log.error("the engine ended before the configuration was reloaded")

    def stop(self) -> None:
        """End every session, take everything away that was set up, and return when that is done, or is hopeless."""
        with suppress(trio.RunFinishedError):
            self._token.result().run_sync_soon(self._scope.cancel)
        self._thread.join(STOP_DEADLINE_S)
        if self._thread.is_alive():
            self.failure = TimeoutError(f"it did not stop within {STOP_DEADLINE_S:.0f} s")
            self._ended.set()

    def started(self, value: Operations | None = None) -> None:
        """Take note that everything listens: the engine calls this."""
        self._operations = value
        self._tell(Notice.ENGINE_READY)

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except StartError as error:
            self.failure = error
        except BaseException as error:
            log.exception("the engine broke")
            self.failure = error
        finally:
            self._ended.set()
            self._tell(Notice.ENGINE_ENDED)

    async def _serve(self) -> None:
        self._token.set_result(trio.lowlevel.current_trio_token())
        with self._scope:
            await serve_forever(self._loaded, signals=False, task_status=self)
