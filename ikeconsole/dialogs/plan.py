"""Shows what a change of the configuration would do, and asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.control.records import Plan
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.render.columns import printable
from ikeconsole.widgets.diff_view import DiffView

MAX_CHANGES = 12


class ShowPlan(Confirm):
    """Yes or no to a plan; `v` shows the difference of the file."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "view", "view difference")]

    def __init__(self, title: str, plan: Plan, verb: str) -> None:
        super().__init__(title, (), verb)
        self._plan = plan

    def content(self) -> Iterable[Widget]:
        """The changes, the file, the effect."""
        plan = self._plan
        for line in plan.changes[:MAX_CHANGES]:
            yield Static(_change(line), classes="plan-change")
        if len(plan.changes) > MAX_CHANGES:
            yield Static(f"  … and {len(plan.changes) - MAX_CHANGES} more changes", markup=False)
        file = f"  config.toml: +{plan.lines_added} -{plan.lines_removed} lines, your comments stay"
        yield Static(Content.assemble(file, "   ", ("v", "bold"), " view difference"), id="plan-file")
        difference = DiffView(plan.difference, id="plan-difference")
        difference.display = False
        yield difference
        for number, line in enumerate(plan.effect.lines):
            grave = plan.effect.sessions > 0 and number == 0
            yield Static(line, markup=False, classes="plan-effect grave" if grave else "plan-effect")

    def action_view(self) -> None:
        """Show or hide the difference."""
        difference = self.query_one(DiffView)
        difference.display = not difference.display
        if difference.display:
            difference.focus()
        else:
            self.query_one("#cancel").focus()


def _change(line: str) -> Content:
    text = printable(line)
    match text[:1]:
        case "+":
            return Content.styled(text, "$text-success")
        case "-":
            return Content.styled(text, "$text-error")
        case _:
            return Content(f"  {text}")
