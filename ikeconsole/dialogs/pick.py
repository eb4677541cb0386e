"""Asks for one of a few texts, with what each means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Button, OptionList
from textual.widgets.option_list import Option

from ikeconsole.dialogs.dialog import Dialog


class Pick(Dialog[str | None]):
    """The text that was picked; None: none."""

    def __init__(self, title: str, choices: Mapping[str, str], chosen: str) -> None:
        super().__init__(title)
        self._choices = choices
        self._chosen = chosen

    def content(self) -> Iterable[Widget]:
        """The texts, the present one under the cursor."""
        widest = max(map(len, self._choices))
        options = [
            Option(Text.assemble(choice.ljust(widest + 2), (meaning, "dim"), no_wrap=True, overflow="ellipsis"), choice)
            for choice, meaning in self._choices.items()
        ]
        yield OptionList(*options, compact=True)

    def buttons(self) -> Iterable[Button]:
        """Nothing but to keep what is."""
        yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Begin at the present one."""
        options = self.query_one(OptionList)
        options.highlighted = list(self._choices).index(self._chosen) if self._chosen in self._choices else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """It is picked."""
        self.dismiss(event.option_id)

    def on_button_pressed(self) -> None:
        """None is."""
        self.dismiss(None)
