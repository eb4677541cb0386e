"""Saves sessions while the engine runs: changes are appended every second, and all is written anew now and then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

import trio

from engine.config.save import os_remedy
from engine.events import EventLog
from engine.sessions.service import Service
from engine.sessions.session import Phase
from engine.sessions.table import SessionTable
from engine.survival.journal import frame
from engine.survival.journal_file import JournalFile
from engine.survival.moment import Moment
from engine.survival.records import Ended, Forgotten, Record, kept_record, kept_session

JOURNAL: Final = "sessions.journal"
SAVED_EVERY_S: Final = 1.0
TOLD_EVERY_S: Final = 5.0
"""How often it is written down that the engine is there, when nothing else is."""
REWRITTEN_EVERY_S: Final = 300.0
"""Counters, and when flows were last heard of, are no changes: what is saved of them is as old as this at most."""
GROWN_BYTES: Final = 1 << 20
"""So much may be appended to a file, however small it was, before it is written anew."""
BEGINNING_S: Final = 1.0
"""A session that has just begun is saved when it is set up, or when that takes longer than this: not several times."""
TRIED_AGAIN_S: Final = 10.0
AT_ONCE: Final = 100
"""Sessions between two turns of the forwarder: a millisecond."""
WRITTEN_AT_ONCE_BYTES: Final = 1 << 18
"""To hand a thread something to write takes as long as to put twenty sessions into a record."""


class Saving:
    """Keeps the journal of one engine. `failure` says what is wrong while nothing can be saved, and what to do."""

    def __init__(self, state_dir: Path, table: SessionTable, services: Mapping[str, Service], events: EventLog) -> None:
        self.path = state_dir / JOURNAL
        self.failure = ""
        self._table = table
        self._services = services
        self._events = events
        self._file: JournalFile | None = None
        """What is appended to; None: there is nothing yet, or it could not be written to."""
        self._whole_bytes = 0
        """Of the file when it had been written anew."""
        self._written = 0
        """Records in the file."""
        self._rewritten_s = self._appended_s = 0.0
        self._one_at_a_time = trio.Lock()
        self._begun = self._ends = False

    async def run(self) -> None:
        """Save until cancelled."""
        self._begun = True
        while True:
            await self.save()
            await trio.sleep(TRIED_AGAIN_S if self.failure else SAVED_EVERY_S)

    async def save(self) -> None:
        """Write down what has changed, or everything where that is due."""
        async with self._one_at_a_time:
            if self._ends:
                # It would be cancelled halfway, with changes that `close` then does not find any more.
                return
            file, now_s = self._file, trio.current_time()
            old = now_s - self._rewritten_s >= REWRITTEN_EVERY_S
            if file is None or old or self._is_mostly_outdated(file):
                await self._save_all()
                return
            try:
                await self._append_changes([file])
            except OSError as error:
                self._fail(error)

    async def finish(self) -> None:
        """Write everything down anew while datagrams still are forwarded: so little is left for `close`."""
        if self._begun:
            async with self._one_at_a_time:
                await self._save_all()
                self._ends = True

    def close(self) -> None:
        """Write down what has changed since, and no more after that."""
        if self._file is None:
            return
        try:
            for changes in _portions(self._changes(math.inf)):
                self._file.append(frame(Moment.now(trio.current_time()), changes))
        except OSError as error:
            self._fail(error)
            return
        self._file.close()
        self._file = None

    def _is_mostly_outdated(self, file: JournalFile) -> bool:
        """Whether most of a file was written anew further down: not where it only grows with the table."""
        if file.size_bytes <= 2 * self._whole_bytes + GROWN_BYTES:
            return False
        there_are = len(self._table.sessions) + sum(len(service.persistence) for service in self._services.values())
        return self._written > 2 * there_are

    async def _save_all(self) -> None:
        """What changes meanwhile goes into the old file and the new one."""
        self._watch()
        self._written = 0
        fresh: JournalFile | None = None
        try:
            fresh = await trio.to_thread.run_sync(JournalFile, self.path)
            await self._write_everything(fresh)
            await trio.to_thread.run_sync(fresh.publish)
        except BaseException as error:
            if fresh is not None:
                fresh.close()
            if not isinstance(error, OSError):
                raise
            self._fail(error)
            return
        if self._file is not None:
            self._file.close()
        self._file, self._whole_bytes, self._rewritten_s = fresh, fresh.size_bytes, trio.current_time()
        if self.failure:
            self.failure = ""
            self._events.add("notice", "sessions-saved", f"sessions are saved again, in {self.path}")

    async def _write_everything(self, fresh: JournalFile) -> None:
        everything = self._everything()
        files = [fresh] if self._file is None else [self._file, fresh]
        while some := list(islice(everything, AT_ONCE)):
            await trio.to_thread.run_sync(fresh.append, self._framed(some))
            if trio.current_time() - self._appended_s >= SAVED_EVERY_S:
                await self._append_changes(files)
        # Last, so that nothing that was written above is later than it.
        await self._append_changes(files, or_nothing=True)

    async def _append_changes(self, files: Sequence[JournalFile], *, or_nothing: bool = False) -> None:
        now_s = trio.current_time()
        changes = self._changes(now_s - BEGINNING_S)
        data = b""
        for some in _portions(changes, or_nothing=or_nothing or now_s - self._appended_s >= TOLD_EVERY_S):
            data += self._framed(some)
            await trio.lowlevel.checkpoint()
            if len(data) >= WRITTEN_AT_ONCE_BYTES:
                await self._append(files, data)
                data = b""
        if data:
            await self._append(files, data)

    def _framed(self, records: Iterable[Record]) -> bytes:
        some = list(records)
        self._written += len(some)
        return frame(Moment.now(trio.current_time()), some)

    async def _append(self, files: Iterable[JournalFile], data: bytes) -> None:
        for file in files:
            # A disk may take its time, in which datagrams must not wait.
            await trio.to_thread.run_sync(file.append, data)
        self._appended_s = trio.current_time()

    def _everything(self) -> Iterator[Record]:
        for service in list(self._services.values()):
            for record in list(service.persistence):
                if service.persistence.holds(record):
                    yield kept_record(service, record)
        for session in list(self._table.sessions.values()):
            if session.phase is not Phase.CLOSED:
                yield kept_session(session)

    def _changes(self, begun_before_s: float) -> Iterator[Record]:
        """What has changed since this was asked last, as it is when its turn comes.

        Sessions that are being set up and have not begun before that moment are left for the next time.
        """
        changed, self._table.changed = self._table.changed or {}, {}
        clients = []
        for service in self._services.values():
            changed_clients = service.persistence.changed
            if changed_clients is None:
                changed_clients = {record.client for record in service.persistence}
            clients += [(service, client) for client in changed_clients]
            service.persistence.changed = set()
        for service, client in clients:
            record = service.persistence.find(client)
            yield Forgotten(service.name, client) if record is None else kept_record(service, record)
        for number, session in changed.items():
            if session.phase is Phase.CLOSED:
                yield Ended(number)
            elif session.half_open and session.created_s > begun_before_s:
                self._table.mark(session)
            else:
                yield kept_session(session)

    def _watch(self) -> None:
        """Have everything noted that changes from now on."""
        if self._table.changed is None:
            self._table.changed = {}
        for service in self._services.values():
            if service.persistence.changed is None:
                service.persistence.changed = set()

    def _fail(self, error: OSError) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        # Nothing is noted that nobody writes down.
        self._table.changed = None
        for service in self._services.values():
            service.persistence.changed = None
        before = self.failure
        self.failure = os_remedy(error, self.path.parent)
        if not before:
            text = f"sessions cannot be saved, and would be lost with this engine: {self.failure}"
            self._events.add("error", "sessions-unsaved", text)


def _portions(records: Iterator[Record], *, or_nothing: bool = False) -> Iterator[Iterable[Record]]:
    """So many at once as the forwarder can wait for; `or_nothing`: nothing once, where there are none."""
    first = next(records, None)
    if first is None:
        if or_nothing:
            yield ()
        return
    records = chain((first,), records)
    while some := list(islice(records, AT_ONCE)):
        yield some
