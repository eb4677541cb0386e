"""Asks what is to become of an edit when somebody else changed the configuration meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, OptionList, Static

from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.render.columns import printable
from ikeconsole.settings.merging import Collision, Path

MAX_CHANGES = 8


class TakeTheirs(Enum):
    """Drop the edit."""

    ALL = "all"


class Conflict(Dialog[frozenset[Path] | TakeTheirs | None]):
    """The paths at which our value wins over theirs; TakeTheirs: ours are dropped altogether; None: editing goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "choose", "choose", show=False)]

    def __init__(self, changed: Sequence[str], collisions: Sequence[Collision]) -> None:
        super().__init__("The configuration was changed meanwhile")
        self._changed = changed
        self._collisions = collisions
        self._favoured: set[Path] = set()

    def content(self) -> Iterable[Widget]:
        """What they changed, and where both changed the same."""
        yield Static("In force since then:", classes="conflict-head")
        for line in self._changed[:MAX_CHANGES]:
            yield Static(f"  {printable(line)}", markup=False)
        if len(self._changed) > MAX_CHANGES:
            yield Static(f"  … and {len(self._changed) - MAX_CHANGES} more changes", markup=False)
        if self._collisions:
            yield Static("You changed the same; Space chooses between yours and theirs:", classes="conflict-head")
            yield OptionList(*map(self._spelled, self._collisions), compact=True)
        else:
            yield Static("Nothing that you changed: your changes can go on top.", classes="conflict-head")

    def buttons(self) -> Iterable[Button]:
        """Go on editing, drop ours, put ours on top."""
        yield Button("Keep editing", id="cancel", compact=True)
        yield Button("Drop mine", id="drop", variant="error", compact=True)
        yield Button("Put mine on top", id="merge", variant="warning", compact=True)

    def on_mount(self) -> None:
        """Begin with what is to be decided."""
        if self._collisions:
            self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Have the other value win."""
        collision = self._collisions[event.option_index]
        self._favoured ^= {collision.path}
        event.option_list.replace_option_prompt_at_index(event.option_index, self._spelled(collision))

    def action_choose(self) -> None:
        """Space chooses as Enter does, where the choice is."""
        if isinstance(self.focused, OptionList):
            self.focused.action_select()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        match event.button.id:
            case "drop":
                self.dismiss(TakeTheirs.ALL)
            case "merge":
                self.dismiss(frozenset(self._favoured))
            case _:
                self.dismiss(None)

    def _spelled(self, collision: Collision) -> Content:
        name, mine, theirs = ".".join(collision.path[1:]), _value(collision.mine), _value(collision.theirs)
        won, lost = (f"mine: {mine}", f"theirs: {theirs}")
        if collision.path not in self._favoured:
            won, lost = lost, won
        return Content.assemble(
            printable(name), "  ", (printable(won), "bold"), "  ", (printable(f"not {lost}"), "dim")
        )


def _value(value: Any) -> str:
    match value:
        case None:
            return "the default or none"
        case bool():
            return "on" if value else "off"
        case dict():
            return "changed"
        case list():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value)
