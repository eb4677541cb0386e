"""What every place of the console has: top bar, alarms, footer, and the engine's latest state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from ikeconsole.actions import find
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.alarm_strip import AlarmStrip
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.key_bar import KeyBar
from ikeconsole.widgets.lost_banner import LostBanner
from ikeconsole.widgets.place_bar import PlaceBar
from ikeconsole.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


class Place(Screen[None]):
    """A screen one can be at; a subclass composes `body` and draws in `show`."""

    AUTO_FOCUS: ClassVar[str | None] = "Grid"
    PLACE: ClassVar[str]
    """Its name in the action registry."""

    @property
    def console_app(self) -> ConsoleApp:
        """The application."""
        from ikeconsole.app import ConsoleApp

        return cast(ConsoleApp, self.app)

    @property
    def crumb(self) -> str:
        """What stands for it in the breadcrumbs."""
        return self.PLACE

    @property
    def subject(self) -> tuple[str, str]:
        """The service and the real server that advice is wanted on; empty names stand for all."""
        return "", ""

    @property
    def unsaved(self) -> bool:
        """Whether the operator would lose work by leaving."""
        return False

    def compose(self) -> ComposeResult:
        """The frame around the body."""
        yield TopBar()
        yield LostBanner()
        yield AlarmStrip()
        yield from self.body()
        yield KeyBar()
        yield PlaceBar()

    def body(self) -> Iterable[Widget]:
        """What the place itself shows."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        """Draw what the snapshot says; called for each new one while the place is in front, and when it comes there."""

    async def look(self) -> None:
        """Ask the engine for what the snapshot does not have; called after `show`.

        Raises:
            EngineUnreachable: the engine is lost; the application says so.
        """

    def set_stale(self, stale: bool) -> None:
        """Grey out what is shown while the engine is lost."""
        self.set_class(stale, "stale")
        for grid in self.query(Grid):
            grid.set_stale(stale)

    def offers(self, action: str) -> bool:
        """Whether an action makes sense for what is selected."""
        return True

    def refresh_frame(self) -> None:
        """Draw the bars again."""
        for kind in (TopBar, LostBanner, AlarmStrip, KeyBar, PlaceBar):
            for bar in self.query(kind):
                bar.show()

    def on_screen_resume(self) -> None:
        """Catch up with what happened while another screen was in front."""
        self.console_app.catch_up()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer nothing that may not or cannot be done."""
        known = find(action, self.PLACE)
        if known is None:
            return True
        if known.changes and self.console_app.read_only:
            return False
        if known.reveals and not self.console_app.may_reveal:
            return False
        return self.offers(action)
