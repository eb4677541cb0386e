"""Asks before something is done, and says what it will do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Button

from ikeconsole.dialogs.dialog import Dialog


class Confirm(Dialog[bool]):
    """Yes or no; `y` and `n` answer too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "accept", "yes"), Binding("n", "refuse", "no")]

    def __init__(self, title: str, lines: Iterable[str], verb: str) -> None:
        super().__init__(title, lines)
        self._verb = verb

    def buttons(self) -> Iterable[Button]:
        """Cancel, and the verb."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button(self._verb, id="accept", variant="warning", compact=True)

    def refusal(self) -> bool:
        """No."""
        return False

    def action_accept(self) -> None:
        """Yes."""
        self.dismiss(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        self.dismiss(event.button.id == "accept")
