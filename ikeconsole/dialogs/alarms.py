"""Every alarm: what is wrong, since when, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.control.status import Alarm
from ikeconsole.dialogs.dialog import Modal
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age, clock
from ikeconsole.render.states import StateStyles, severity

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp

_FOLLOW_S = 1.0


class Alarms(Modal[Alarm | None]):
    """The alarms that were not dismissed, as they come and go; the result is the one to go to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,a,q", "close", "close"),
        Binding("x", "put_aside", "dismiss"),
        Binding("j", "down", "down", show=False),
        Binding("k", "up", "up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Alarm] = []
        self._now_at = 0.0

    @property
    def console_app(self) -> ConsoleApp:
        """The application."""
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        """The list and the keys."""
        with Vertical(classes="dialog"):
            yield OptionList(id="alarm-list")
            yield Static("Enter go there   x dismiss   Esc close", id="alarm-keys")

    def on_mount(self) -> None:
        """Follow what the console learns."""
        self.follow()
        self.set_interval(_FOLLOW_S, self.follow)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to the place of an alarm."""
        self.dismiss(self._shown[event.option_index])

    def action_put_aside(self) -> None:
        """Show this alarm no more, unless it ends and comes back."""
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.console_app.dismiss_alarm(self._shown[highlighted])
            self.follow()

    def action_close(self) -> None:
        """Back to the place."""
        self.dismiss(None)

    def action_down(self) -> None:
        """Go to the next alarm."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """Go to the alarm before."""
        self.query_one(OptionList).action_cursor_up()

    def follow(self) -> None:
        """Show the alarms there are now, the cursor staying where it is; close after the last one."""
        snapshot, alarms = self.console_app.snapshot, self.console_app.open_alarms
        now_at = snapshot.status.now_at if snapshot else 0.0
        if not alarms:
            self.dismiss(None)
        elif (alarms, now_at) != (self._shown, self._now_at):
            self._draw(alarms, now_at)

    def _draw(self, alarms: list[Alarm], now_at: float) -> None:
        listed = self.query_one(OptionList)
        before, highlighted = self._shown, listed.highlighted
        self._shown, self._now_at = alarms, now_at
        self.query_one(".dialog").border_title = "1 alarm" if len(alarms) == 1 else f"{len(alarms)} alarms"
        entries = [_entry(alarm, now_at, self.console_app.state_styles) for alarm in alarms]
        if len(before) == len(alarms):
            for number, entry in enumerate(entries):
                listed.replace_option_prompt_at_index(number, entry)
        else:
            listed.set_options(part for entry in entries for part in (Option(entry), None))
        kept = before[highlighted] if highlighted is not None and highlighted < len(before) else None
        names = [(alarm.kind, alarm.service, alarm.server) for alarm in alarms]
        if kept is not None and (kept.kind, kept.service, kept.server) in names:
            listed.highlighted = names.index((kept.kind, kept.service, kept.server))
        else:
            listed.highlighted = min(highlighted or 0, len(alarms) - 1)


def _entry(alarm: Alarm, now_at: float, styles: StateStyles) -> Table:
    entry = Table.grid(padding=(0, 1, 0, 0), expand=True)
    entry.add_column(width=1)
    entry.add_column(ratio=1)
    entry.add_row(severity(alarm.severity, styles), Text(printable(alarm.text), "bold"))
    entry.add_row("", Text(f"for {age(now_at - alarm.since_at)}, since {clock(alarm.since_at)}", styles.quiet))
    entry.add_row("→", Text(printable(alarm.remedy)))
    return entry
