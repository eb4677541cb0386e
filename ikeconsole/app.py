"""The operator console: what it knows of the engine, where the operator is, and what works everywhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

from textual import work
from textual.screen import Screen
from textual.theme import Theme

from engine.control.status import Alarm
from ikeconsole.actions import bindings, find
from ikeconsole.command_line import command_line
from ikeconsole.dialogs.about import About
from ikeconsole.dialogs.alarms import Alarms
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.dialogs.help import Help
from ikeconsole.dialogs.quit import STOP, Quit
from ikeconsole.link import Link, SocketLink
from ikeconsole.looking import LookingApp
from ikeconsole.looks.few_colours import FEW_COLOURS, THE_16, has_few_colours
from ikeconsole.looks.preferences import RememberedPreferences
from ikeconsole.looks.state_styles import state_styles, state_variables
from ikeconsole.looks.themes import known_theme, register_themes
from ikeconsole.navigation import open_advice, open_alarm
from ikeconsole.render.states import TERMINAL, StateStyles
from ikeconsole.screens.advice import Advised
from ikeconsole.screens.history import History
from ikeconsole.screens.place import Place
from ikeconsole.screens.places import ROOTS
from ikeconsole.screens.theme_picker import ThemePicker
from ikeconsole.settings.applying import reload
from ikeconsole.widgets.grid import Grid

REFRESH_CHOICES_S = (0.5, 1.0, 2.0, 5.0, 10.0)

_STYLES = Path(__file__).parent / "styles"


class Hosted(Protocol):
    """The engine of this process."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        ...


class ConsoleApp(LookingApp):
    """The console of one engine, whose control socket it is a client of."""

    TITLE = "ikeconsole"
    CSS_PATH: ClassVar = sorted(_STYLES.glob("*.tcss"))
    BINDINGS = bindings("console")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {**ROOTS}
    DEFAULT_MODE = "overview"
    ENABLE_COMMAND_PALETTE = False
    NOTIFICATION_TIMEOUT = 4.0

    def __init__(
        self,
        socket: Path,
        *,
        read_only: bool = False,
        hosted: Hosted | None = None,
        link: Link | None = None,
        preferences: RememberedPreferences | None = None,
    ) -> None:
        remembered = preferences or RememberedPreferences()
        super().__init__(socket, link or SocketLink(socket), remembered.chosen.refresh_s)
        self.preferences = remembered
        self._theme_problems = register_themes(self)
        self.theme = known_theme(self, self.preferences.chosen.theme)
        self.hosted = hosted
        """The engine that runs in this process, if one does."""
        self.quit_choice = ""
        """After the end: stop or background, what is to become of a hosted engine; empty: nobody chose."""
        self.animation_level = "none"
        self._may_only_look = read_only
        self._has_few_colours = has_few_colours(self.console)
        if self._has_few_colours:
            self.ansi_theme_dark = self.ansi_theme_light = THE_16
        self._state_styles = self._styles_in(self.current_theme)
        self._dismissed: set[tuple[str, str, str, float]] = set()
        self._event_loop: asyncio.AbstractEventLoop | None = None

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed."""
        return self._may_only_look or (self.snapshot is not None and not self.snapshot.hello.may_change)

    @property
    def may_reveal(self) -> bool:
        """Whether what users send may be shown: it changes nothing, but takes the same right."""
        return self.snapshot is None or self.snapshot.hello.may_change

    @property
    def state_styles(self) -> StateStyles:
        """The colours of states in the present theme."""
        return self._state_styles

    @property
    def root(self) -> str:
        """The place that the operator went to last by number."""
        return self.current_mode

    @property
    def crumbs(self) -> list[str]:
        """The way from the first place to the present one."""
        return [screen.crumb for screen in self.screen_stack if isinstance(screen, Place)]

    @property
    def open_alarms(self) -> list[Alarm]:
        """The alarms that the operator has not dismissed, the gravest first."""
        alarms = self.snapshot.status.alarms if self.snapshot else []
        return [alarm for alarm in alarms if _identity(alarm) not in self._dismissed]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours for themes that do not name them."""
        return state_variables(self.current_theme)

    def on_mount(self) -> None:
        """Begin to look."""
        self._event_loop = asyncio.get_running_loop()
        self._wear(self.current_theme)
        self.theme_changed_signal.subscribe(self, self._wear)
        for problem in filter(None, [self.preferences.problem, *self._theme_problems]):
            self.notify(str(problem), title="left out", severity="warning", timeout=10, markup=False)
        self.begin_to_look()

    def on_unmount(self) -> None:
        """Hang up."""
        self.link.close()

    def dismiss_alarm(self, alarm: Alarm) -> None:
        """Show an alarm no more, unless it ends and comes back."""
        self._dismissed.add(_identity(alarm))
        self.refresh_frame()

    async def go_to(self, name: str) -> None:
        """Leave everything that was opened there and go to one of the five places, or to unsaved work in it."""
        await self.switch_mode(name)
        while len(self.screen_stack) > 1 and not _unsaved(self.screen):
            await self.pop_screen()
        self.refresh_frame()

    async def action_go(self, name: str) -> None:
        """Go to one of the five places."""
        await self.go_to(name)

    async def action_back(self) -> None:
        """Leave the present place for the one before."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()

    @work(exclusive=True, group="reload")
    async def action_reload(self) -> None:
        """Show how the configuration file differs from what runs, then apply it."""
        await reload(self)

    def action_history(self) -> None:
        """What the configuration was before."""
        if not isinstance(self.screen, History):
            self.push_screen(History())

    def action_pause(self) -> None:
        """Stop and resume refreshing."""
        self.paused = not self.paused
        self.keep_looking()

    def action_faster(self) -> None:
        """Refresh more often."""
        self._choose_interval(max((s for s in REFRESH_CHOICES_S if s < self.refresh_s), default=REFRESH_CHOICES_S[0]))

    def action_slower(self) -> None:
        """Refresh less often."""
        self._choose_interval(min((s for s in REFRESH_CHOICES_S if s > self.refresh_s), default=REFRESH_CHOICES_S[-1]))

    def action_alarms(self) -> None:
        """Every alarm, and from there to what it is about."""
        if self.open_alarms:
            self.push_screen(Alarms(), self._go_to_alarm)
        else:
            self.notify("There is no alarm.", markup=False)

    def action_advise(self) -> None:
        """What to set on servers, gateways and clients, because of what is selected."""
        place = self.place
        if place is not None and not isinstance(place, Advised):
            open_advice(self, *place.subject)

    async def action_theme(self) -> None:
        """Choose other colours."""
        self.push_screen(ThemePicker(self._theme_problems), self._remember_theme)

    def action_palette(self) -> None:
        """Any command, in the words of the command line."""
        self.open_palette("")

    def open_palette(self, beginning: str) -> None:
        """Let the operator type a command, of which the beginning may stand there already."""
        from ikeconsole.palette import Palette

        self.push_screen(Palette(beginning))

    def choose_theme(self, name: str) -> None:
        """Wear a theme from now on."""
        self.theme = name
        self._remember_theme(name)

    def action_help(self) -> None:
        """The keys of the place in front."""
        place = self.place
        if place is not None:
            self.push_screen(Help(place.PLACE, has_grid=bool(place.query(Grid)), read_only=self.read_only))

    def action_about(self) -> None:
        """Which engine this is."""
        self.push_screen(About(self.snapshot, command_line(sys.argv[0], self.socket)))

    def action_help_quit(self) -> None:
        """Ctrl+C leaves as the other keys do."""
        self._ask_to_leave()

    async def action_quit(self) -> None:
        """Leave the console."""
        self._ask_to_leave()

    def leave_soon(self) -> None:
        """Leave without asking; may be called from a signal handler or another thread."""
        if self._event_loop is not None:
            self._event_loop.call_soon_threadsafe(self.exit)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer no change where one may only look."""
        known = find(action, "console")
        return not (known and known.changes and self.read_only)

    def _choose_interval(self, refresh_s: float) -> None:
        self.refresh_s = refresh_s
        self.paused = False
        self.keep_looking()
        self._remember(self.preferences.choose(refresh_s=refresh_s))

    def _ask_to_leave(self) -> None:
        """Ask about unsaved work first."""
        screens: list[Screen[Any]] = []
        for mode in ROOTS:
            with suppress(KeyError):  # a place that was not opened yet has no screens
                screens += self.get_screen_stack(mode)
        if any(map(_unsaved, screens)):
            lines = ["A form has changes that were not applied: they are lost when you leave."]
            self.push_screen(Confirm("Leave with unsaved changes?", lines, "Leave"), self._leave_unsaved)
        else:
            self._ask_about_engine()

    def _leave_unsaved(self, sure: bool | None) -> None:
        if sure:
            self._ask_about_engine()

    def _ask_about_engine(self) -> None:
        """A hosted engine with sessions goes on or stops, as the operator says."""
        sessions = self.snapshot.status.sessions if self.snapshot else 0
        if self.hosted is not None and sessions and not self.hosted.ended:
            self.push_screen(Quit(sessions), self._leave)
        else:
            self._leave(STOP if self.hosted is not None else "")

    def _leave(self, choice: str | None) -> None:
        if choice or self.hosted is None:
            self.quit_choice = choice or ""
            self.exit()

    async def _go_to_alarm(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            await open_alarm(self, alarm)

    def _remember_theme(self, name: str | None) -> None:
        if name is not None:
            self._remember(self.preferences.choose(theme=name))

    def _remember(self, failure: str | None) -> None:
        if failure:
            self.notify(failure, severity="warning", timeout=10, markup=False)

    def _wear(self, theme: Theme) -> None:
        self._state_styles = self._styles_in(theme)
        self.set_class(self._has_few_colours or theme.ansi, FEW_COLOURS)
        self.catch_up()

    def _styles_in(self, theme: Theme) -> StateStyles:
        """The colours of a theme, or the terminal's own where many of those would come out the same."""
        return TERMINAL if self._has_few_colours else state_styles(theme)


def _unsaved(screen: Screen[Any]) -> bool:
    return isinstance(screen, Place) and screen.unsaved


def _identity(alarm: Alarm) -> tuple[str, str, str, float]:
    return alarm.kind, alarm.service, alarm.server, alarm.since_at
