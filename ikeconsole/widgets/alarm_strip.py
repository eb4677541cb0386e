"""The line with the gravest alarm; every place has it."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age
from ikeconsole.widgets.bar import Bar, spread


class AlarmStrip(Bar):
    """Takes a line only while there is an alarm that was not dismissed."""

    def line(self, width: int) -> Content | None:
        """The gravest alarm, how many there are, and the key that opens them."""
        snapshot, alarms = self.console_app.snapshot, self.console_app.open_alarms
        self.set_class(any(alarm.severity == "error" for alarm in alarms), "grave")
        if snapshot is None or not alarms:
            return None
        first = alarms[0]
        since = age(snapshot.status.now_at - first.since_at)
        more = f"  1/{len(alarms)}" if len(alarms) > 1 else ""
        left = Content(f" ▲ {printable(first.text)}")
        return spread(left, Content.assemble(f" {since:>6}  ", ("a", "bold"), f" see{more} "), width)

    def on_click(self) -> None:
        """Open them by mouse."""
        self.console_app.action_alarms()
