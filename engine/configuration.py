"""The running configuration and its file: reload, edit, undo; a change that fails changes nothing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from msgspec.structs import replace

from engine.config.changes import changes
from engine.config.dump import dump, to_short_table
from engine.config.history import KEPT_REVISIONS, History, HistoryError
from engine.config.history import Revision as KeptRevision
from engine.config.load import Loaded, digest_of, load, parse, read_tables, read_text
from engine.config.problems import ConfigError
from engine.config.restricted import beyond_operators
from engine.config.save import ConflictError, SaveError, difference, save
from engine.config.schema import Config, RealServer, Service
from engine.control.access import user_name
from engine.control.api import Refused
from engine.control.records import Change, ConfigState, Plan, Revision, Settings
from engine.deployment import Deployment, Prepared
from engine.effects import waiting_for_restart
from engine.events import EventLog
from engine.live import live
from engine.logs import set_log_level
from engine.net.sockets import BindError
from engine.net.transparent import PlumbingError
from engine.planning import Draft, Uneditable, make_draft, make_plan, problems_of, summed_up
from engine.wording import count, verb

log = logging.getLogger(__name__)


class Configuration:
    """Keeps file, history and deployment in step: changes come one after another."""

    def __init__(self, loaded: Loaded, deployment: Deployment, state_dir: Path, events: EventLog) -> None:
        self.loaded = loaded
        self._deployment = deployment
        self._history = History(state_dir)
        self._events = events
        self._one_at_a_time = trio.Lock()
        self._latest = "the engine was started"
        """What was changed last, and by whom."""

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

    async def reload(self, author: str) -> Change:
        """Read the file again and put it in force; raises Refused."""
        async with self._one_at_a_time:
            try:
                loaded = await trio.to_thread.run_sync(load, self.path)
            except ConfigError as error:
                raise self._refuse("the file is not valid; the running configuration stays", error.lines()) from error
            if loaded.text == self.loaded.text:
                return Change(done=f"{self.path} has not changed")
            if self.loaded.config.services and not loaded.config.services:
                # A file that a full disk or a slip of the hand has cut short is valid, too, and would end everything.
                remedy = "to have none, remove them in the console, which says first what ends"
                problem = f"{self.path}:service: there is none any more: put them back; {remedy}"
                raise self._refuse("the file has no service; the running configuration stays", [problem])
            return await self._put_in_force(loaded, author, "reloaded from the file")

    async def edit(self, change: Callable[[str], str], author: str, summary: str) -> Change:
        """Change the file's text and put it in force in one step; raises Refused."""
        async with self._one_at_a_time:
            try:
                draft = await trio.to_thread.run_sync(_edited, change, self.loaded)
            except ConfigError as error:
                raise self._refuse(f"not done: {summary}", error.lines()) from error
            except LookupError as error:
                raise Refused("not-found", str(error)) from error
            except ValueError as error:
                raise Refused("failed", f"not done: {summary}", [f"{self.path}: {error}"]) from error
            return await self._save_and_apply(draft.text, draft.config, author, summary)

    def check(self, service: Service, server: RealServer) -> None:
        """Refuse, in the words for a file, what may not be said of a real server in the file."""
        config = Config(services=[replace(service, real_servers=[server])])
        try:
            read_tables(to_short_table(config), self.path)
        except ConfigError as error:
            raise Refused("invalid", "this cannot be done", error.lines()) from error

    def settings(self) -> Settings:
        """The running configuration as tables that can be edited, and the name of this state of it."""
        return Settings(base=self.loaded.digest, path=str(self.path), tables=to_short_table(self.loaded.config))

    async def plan(self, base: str, tables: dict[str, Any]) -> Plan:
        """What the file would say and what would happen to sessions with other tables; raises Refused."""
        async with self._one_at_a_time:
            await self._require_base(base)
            try:
                draft = await trio.to_thread.run_sync(make_draft, self.loaded, tables)
            except ConfigError as error:
                return problems_of(error)
            except Uneditable as error:
                raise Refused("failed", error.message, error.changes) from error
            return await self._plan(draft, "edited")

    async def apply(
        self, base: str, tables: dict[str, Any], author: str, summary: str, *, unrestricted: bool = False
    ) -> Change:
        """Put other tables in force and into the file in one step; raises Refused.

        Only `unrestricted` they may change what would give an operator the rights of the engine's own user.
        """
        async with self._one_at_a_time:
            await self._require_base(base)
            try:
                draft = await trio.to_thread.run_sync(make_draft, self.loaded, tables)
            except ConfigError as error:
                raise self._refuse("not applied; the running configuration stays", error.lines()) from error
            except Uneditable as error:
                raise Refused("failed", error.message, error.changes) from error
            if draft.config == self.loaded.config:
                return Change(done="nothing to apply: this is what runs already")
            self._require_right(draft.config, unrestricted)
            changed = await trio.to_thread.run_sync(changes, self.loaded.config, draft.config)
            summary = summed_up(summary, changed)
            return await self._save_and_apply(draft.text, draft.config, author, summary)

    async def preview_undo(self) -> Plan:
        """What `undo` would do; raises Refused."""
        async with self._one_at_a_time:
            revision, config = await self._previous()
            return await self._plan(Draft(revision.text, config), f"revision {revision.number}")

    async def undo(self, author: str, *, unrestricted: bool = False) -> Change:
        """Return to the revision before the present one, `unrestricted` or not as in `apply`; raises Refused."""
        async with self._one_at_a_time:
            revision, config = await self._previous()
            self._require_right(config, unrestricted)
            return await self._save_and_apply(revision.text, config, author, f"back to revision {revision.number}")

    async def state(self) -> ConfigState:
        """The effective configuration, and how the file differs from what runs."""
        try:
            on_disk = await trio.to_thread.run_sync(read_text, self.path)
        except ConfigError as error:
            on_disk = "\n".join(error.lines()) + "\n"
        return await trio.to_thread.run_sync(_state, self.loaded, on_disk)

    async def revisions(self, limit: int) -> list[Revision]:
        """Saved revisions, newest first; raises Refused."""
        try:
            kept = await trio.to_thread.run_sync(self._history.list, limit + 1)
        except HistoryError as error:
            raise Refused("failed", str(error)) from error
        return await trio.to_thread.run_sync(_revisions, kept, limit)

    async def _plan(self, draft: Draft, name: str) -> Plan:
        try:
            on_disk = await trio.to_thread.run_sync(read_text, self.path)
        except ConfigError as error:
            raise Refused("failed", "the file could not be saved", error.lines()) from error
        if on_disk != self.loaded.text:
            changed = await trio.to_thread.run_sync(difference, self.loaded.text, on_disk, "running", "on disk")
            raise self._changed_on_disk(changed)
        now = live(self._deployment.services.values())
        return await trio.to_thread.run_sync(make_plan, self.loaded, draft, now, name)

    async def _previous(self) -> tuple[KeptRevision, Config]:
        try:
            revision = await trio.to_thread.run_sync(self._history.previous, self.loaded.text)
        except HistoryError as error:
            raise Refused("failed", str(error)) from error
        if revision is None:
            raise Refused("not-found", "there is no earlier revision to return to")
        try:
            return revision, await trio.to_thread.run_sync(parse, revision.text, self.path)
        except ConfigError as error:
            raise self._refuse(f"revision {revision.number} is no longer valid", error.lines()) from error

    def _require_right(self, config: Config, unrestricted: bool) -> None:
        """Refuse an operator what takes the engine's own user."""
        keys = [] if unrestricted else beyond_operators(self.loaded.config, config)
        if keys:
            owner = user_name(os.geteuid())
            users = "root" if owner == "root" else f"root and {owner}"
            remedy = f"have it changed with sudo, or in {self.path} by whoever may write there, then reload"
            message = f"only {users}, whom the engine runs as, may change {', '.join(keys)}"
            raise Refused("denied", message, [remedy])

    async def _require_base(self, base: str) -> None:
        """Refuse a change that was begun when another configuration was in force; the details say what is new."""
        if base == self.loaded.digest:
            return
        message = f"the configuration was changed meanwhile: {self._latest}: look at that, then make your change again"
        changed = await trio.to_thread.run_sync(_difference_since, self._history, base, self.loaded)
        raise Refused("conflict", message, changed)

    def _changed_on_disk(self, changed: str) -> Refused:
        message = f"{self.path} was changed on disk meanwhile: `ikeconsole reload` takes that change in, then try again"
        return Refused("conflict", message, changed.splitlines())

    async def _save_and_apply(self, text: str, config: Config, author: str, summary: str) -> Change:
        prepared = await self._prepare(config)
        with trio.CancelScope(shield=True):
            loaded = await self._save(text, prepared)
        return await self._commit(loaded, prepared, author, summary)

    async def _save(self, text: str, prepared: Prepared) -> Loaded:
        try:
            return await trio.to_thread.run_sync(save, self.loaded, text)
        except ConflictError as error:
            await self._deployment.discard(prepared)
            raise self._changed_on_disk(error.difference) from error
        except SaveError as error:
            await self._deployment.discard(prepared)
            raise Refused("failed", str(error)) from error

    async def _put_in_force(self, loaded: Loaded, author: str, summary: str) -> Change:
        return await self._commit(loaded, await self._prepare(loaded.config), author, summary)

    async def _prepare(self, config: Config) -> Prepared:
        try:
            return await self._deployment.prepare(config)
        except (BindError, PlumbingError, OSError) as error:
            raise self._refuse("the running configuration stays", [str(error)]) from error

    async def _commit(self, loaded: Loaded, prepared: Prepared, author: str, summary: str) -> Change:
        before, self.loaded = self.loaded, loaded
        set_log_level(loaded.config.engine.log_level)
        # Half a configuration in force would be worse than a client that waits too long.
        with trio.CancelScope(shield=True):
            ended = await self._deployment.commit(prepared)
            await self._record(author, summary)
        self._latest = f"{summary} (by {author})"
        waiting = waiting_for_restart(before.config, loaded.config)
        moving = f"; {count(ended, 'session')} {verb(ended, 'end')}, clients go on elsewhere" if ended else ""
        restart = f"; restart the engine for {', '.join(waiting)}" if waiting else ""
        self._events.add("notice", "config-applied", f"{self._latest}{moving}{restart}")
        return Change(done=f"{summary}{moving}{restart}", sessions=ended)

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


def _edited(change: Callable[[str], str], loaded: Loaded) -> Draft:
    text = change(loaded.text)
    return Draft(text, parse(text, loaded.path))


def _state(loaded: Loaded, on_disk: str) -> ConfigState:
    changed = difference(loaded.text, on_disk, "running", "on disk")
    return ConfigState(
        path=str(loaded.path), text=dump(loaded.config), on_disk_differs=bool(changed), difference=changed
    )


def _revisions(kept: Sequence[KeptRevision], limit: int) -> list[Revision]:
    """The first `limit` of some revisions, the newest first, each with what it changed in the one before."""
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


def _difference_since(history: History, base: str, loaded: Loaded) -> list[str]:
    """How the configuration in force differs from an earlier one; nothing when that is no longer kept."""
    with suppress(HistoryError):
        for revision in history.list(KEPT_REVISIONS):
            if digest_of(revision.text) == base:
                return difference(revision.text, loaded.text, "yours", "running").splitlines()
    return []
