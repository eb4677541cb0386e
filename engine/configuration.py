"""The running configuration and its file: reload, edit, undo; a change that fails changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import trio

from engine.config.dump import dump
from engine.config.history import History, HistoryError
from engine.config.load import Loaded, load, parse, read_text
from engine.config.problems import ConfigError
from engine.config.save import ConflictError, SaveError, difference, save
from engine.config.schema import Config
from engine.control.api import Refused
from engine.control.records import ConfigState, Revision
from engine.deployment import Deployment, Prepared
from engine.events import EventLog
from engine.logs import set_log_level
from engine.net.sockets import BindError
from engine.net.transparent import PlumbingError

RESTART_KEYS = ("control_socket", "control_group", "state_dir", "max_open_sockets")

log = logging.getLogger(__name__)


class Configuration:
    """Keeps file, history and deployment in step: changes come one after another."""

    def __init__(self, loaded: Loaded, deployment: Deployment, state_dir: Path, events: EventLog) -> None:
        self.loaded = loaded
        self._deployment = deployment
        self._history = History(state_dir)
        self._events = events
        self._one_at_a_time = trio.Lock()

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self.loaded.path

    async def start(self) -> None:
        """Put the loaded configuration in force for the first time.

        Raises:
            BindError, PlumbingError: what it needs cannot be had.
        """
        await self._deployment.commit(await self._deployment.prepare(self.loaded.config))
        await self._record("engine", "in force at start")

    async def reload(self, author: str) -> str:
        """Read the file again and put it in force; raises Refused."""
        async with self._one_at_a_time:
            try:
                loaded = await trio.to_thread.run_sync(load, self.path)
            except ConfigError as error:
                raise self._refuse("the file is not valid; the running configuration stays", error.lines()) from error
            if loaded.text == self.loaded.text:
                return f"{self.path} has not changed"
            return await self._put_in_force(loaded, author, "reloaded from the file")

    async def edit(self, change: Callable[[str], str], author: str, summary: str) -> str:
        """Change the file's text and put it in force in one step; raises Refused."""
        async with self._one_at_a_time:
            try:
                text = change(self.loaded.text)
                config = parse(text, self.path)
            except ConfigError as error:
                raise self._refuse(f"not done: {summary}", error.lines()) from error
            except LookupError as error:
                raise Refused("not-found", str(error)) from error
            except ValueError as error:
                raise Refused("failed", f"not done: {summary}", [f"{self.path}: {error}"]) from error
            return await self._save_and_apply(text, config, author, summary)

    async def undo(self, author: str) -> str:
        """Return to the revision before the present one; raises Refused."""
        async with self._one_at_a_time:
            try:
                revision = await trio.to_thread.run_sync(self._history.previous, self.loaded.text)
            except HistoryError as error:
                raise Refused("failed", str(error)) from error
            if revision is None:
                raise Refused("not-found", "there is no earlier revision to return to")
            try:
                config = parse(revision.text, self.path)
            except ConfigError as error:
                raise self._refuse(f"revision {revision.number} is no longer valid", error.lines()) from error
            return await self._save_and_apply(revision.text, config, author, f"back to revision {revision.number}")

    async def state(self) -> ConfigState:
        """The effective configuration, and how the file differs from what runs."""
        try:
            on_disk = await trio.to_thread.run_sync(read_text, self.path)
        except ConfigError as error:
            on_disk = "\n".join(error.lines()) + "\n"
        changed = difference(self.loaded.text, on_disk, "running", "on disk")
        return ConfigState(
            path=str(self.path),
            text=dump(self.loaded.config),
            on_disk_differs=bool(changed),
            difference=changed,
        )

    async def revisions(self, limit: int) -> list[Revision]:
        """Saved revisions, newest first; raises Refused."""
        try:
            kept = await trio.to_thread.run_sync(self._history.list, limit + 1)
        except HistoryError as error:
            raise Refused("failed", str(error)) from error
        before = [*kept[1:], None]
        return [
            Revision(
                number=revision.number,
                at=revision.at,
                author=revision.author,
                summary=revision.summary,
                difference=difference(
                    earlier.text if earlier else "", revision.text, "before", f"revision {revision.number}"
                ),
            )
            for revision, earlier in list(zip(kept, before, strict=True))[:limit]
        ]

    async def _save_and_apply(self, text: str, config: Config, author: str, summary: str) -> str:
        prepared = await self._prepare(config)
        try:
            loaded = await trio.to_thread.run_sync(save, self.loaded, text)
        except ConflictError as error:
            await self._deployment.discard(prepared)
            message = (
                f"{self.path} was changed on disk meanwhile: `ikeconsole reload` takes that change in, then try again"
            )
            raise Refused("conflict", message, error.difference.splitlines()) from error
        except SaveError as error:
            await self._deployment.discard(prepared)
            raise Refused("failed", str(error)) from error
        return await self._commit(loaded, prepared, author, summary)

    async def _put_in_force(self, loaded: Loaded, author: str, summary: str) -> str:
        return await self._commit(loaded, await self._prepare(loaded.config), author, summary)

    async def _prepare(self, config: Config) -> Prepared:
        try:
            return await self._deployment.prepare(config)
        except (BindError, PlumbingError) as error:
            raise self._refuse("the running configuration stays", [str(error)]) from error

    async def _commit(self, loaded: Loaded, prepared: Prepared, author: str, summary: str) -> str:
        before, self.loaded = self.loaded, loaded
        set_log_level(loaded.config.engine.log_level)
        ended = await self._deployment.commit(prepared)
        await self._record(author, summary)
        waiting = [
            key for key in RESTART_KEYS if getattr(before.config.engine, key) != getattr(loaded.config.engine, key)
        ]
        moving = f"; {ended} sessions end, their clients go on elsewhere" if ended else ""
        restart = f"; restart the engine for {', '.join(waiting)}" if waiting else ""
        self._events.add("notice", "config-applied", f"{summary} (by {author}){moving}{restart}")
        return f"{summary}{moving}{restart}"

    async def _record(self, author: str, summary: str) -> None:
        try:
            await trio.to_thread.run_sync(self._history.record, self.loaded.text, author, summary, time.time())
        except HistoryError as error:
            self._events.add("warning", "history-failed", str(error))
        for note in self._history.notes:
            self._events.add("warning", "history-damaged", note)

    def _refuse(self, message: str, details: list[str]) -> Refused:
        self._events.add("warning", "config-refused", f"{message}: {'; '.join(details)}")
        return Refused("invalid", message, details)
