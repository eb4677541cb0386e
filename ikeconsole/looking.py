"""Looks at the engine again and again, and says when it does not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from textual.css.query import NoMatches
from textual.timer import Timer

from engine.control import calls
from engine.control.api import Refused
from ikeconsole.client import EngineUnreachable
from ikeconsole.key_order import KeyByKeyApp
from ikeconsole.link import Link
from ikeconsole.screens.place import Place
from ikeconsole.snapshot import Snapshot

SPARK_POINTS = 60
SERIES_EVERY_S = 5.0
SILENT_S = 5.0
"""How long an engine may take to answer before it counts as lost."""
WATCH_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine does not answer since a moment on the monotonic clock."""

    since_s: float
    reason: str


class LookingApp(KeyByKeyApp):
    """Keeps the engine's latest state, and has the place in front draw it."""

    def __init__(self, socket: Path, link: Link, refresh_s: float) -> None:
        super().__init__()
        self.socket = socket
        self.link = link
        self.snapshot: Snapshot | None = None
        self.lost: Lost | None = None
        self.refresh_s = refresh_s
        self.paused = False
        self._looking_since_s: float | None = None
        """When the look that is under way began, on the monotonic clock."""
        self._timer: Timer | None = None

    @property
    def place(self) -> Place | None:
        """The place in front, below any dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, Place)), None)

    def begin_to_look(self) -> None:
        """Look now, and from now on."""
        self.look_soon()
        self.keep_looking()
        self.set_interval(WATCH_EVERY_S, self._watch)

    def keep_looking(self) -> None:
        """Look as often as `refresh_s` and `paused` say."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = None if self.paused else self.set_interval(self.refresh_s, self.look_soon)
        self.refresh_frame()

    def look_soon(self) -> None:
        """Ask the engine now, unless that is being done."""
        if self._looking_since_s is None:
            self._looking_since_s = time.monotonic()
            self.run_worker(self._look(), group="look")

    def catch_up(self) -> None:
        """Bring the place in front up to date."""
        place = self._drawn_place
        if place is None:
            return
        place.refresh_frame()
        if self.snapshot is not None:
            place.show(self.snapshot)
            place.set_stale(self.lost is not None)
            self.look_soon()

    def refresh_frame(self) -> None:
        """Draw the bars of the place in front again."""
        if place := self._drawn_place:
            place.refresh_frame()

    @property
    def _drawn_place(self) -> Place | None:
        """The place in front while it has its widgets: not before it is shown, nor while the console ends."""
        place = self.place
        return place if place is not None and place.is_mounted and self.is_running else None

    async def _look(self) -> None:
        try:
            self.snapshot = await self._ask_for_snapshot()
            self.lost = None
            if place := self._drawn_place:
                place.show(self.snapshot)
                place.set_stale(False)
                self.refresh_frame()
                await self._look_at(place)
        except EngineUnreachable as error:
            self._lose(str(error))
        except Refused as refusal:
            self._lose(refusal.message)
        finally:
            self._looking_since_s = None
        self.refresh_frame()

    async def _look_at(self, place: Place) -> None:
        try:
            await place.look()
        except NoMatches:
            if self.is_running and place in self.screen_stack:
                raise
            return  # it was left before the engine answered, and has lost its widgets
        if self.lost is not None:  # the engine was silent for long, but it answered
            self.lost = None
            place.set_stale(False)

    def _watch(self) -> None:
        """Say that an answer is overdue, and how old what is shown has become: a silent engine causes no event."""
        since_s = self._looking_since_s
        if self.lost is None and since_s is not None and time.monotonic() - since_s >= SILENT_S:
            self._lose(f"it gives no answer on {self.socket}: see its log, or restart it", since_s)
        if self.lost is not None:
            self.refresh_frame()
            if self.paused:  # only what is shown stands still: the engine is tried again all the same
                self.look_soon()

    async def _ask_for_snapshot(self) -> Snapshot:
        before = self.snapshot
        hello = await self.link.greet()
        status = await self.link.ask(calls.GetStatus())
        series = before.series if before is not None else {}
        newest = series.get(("", ""))
        if newest is None or not 0 <= status.now_at - newest.until_at < SERIES_EVERY_S:
            answer = await self.link.ask(calls.GetSeries(points=SPARK_POINTS))
            series = {(one.service, one.server): one for one in answer}
        return Snapshot(hello, status, series)

    def _lose(self, reason: str, since_s: float | None = None) -> None:
        # The latest reason says what can be done by now: an engine that closed the connection may not run any more.
        before_s = self.lost.since_s if self.lost else since_s
        self.lost = Lost(time.monotonic() if before_s is None else before_s, reason)
        if place := self._drawn_place:
            place.set_stale(True)
