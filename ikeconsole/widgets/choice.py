"""One of a few texts on one line: arrows change it, Enter shows them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from ikeconsole.dialogs.pick import Pick


class Reading(Static, can_focus=True):
    """A value that may only be looked at; it takes the focus, so that its help can be read."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._shown = ""

    def show(self, text: str) -> None:
        """Show this value."""
        if text != self._shown:
            self._shown = text
            self.update(text, layout=False)


class Choice(Static, can_focus=True):
    """A value out of a few; typing a letter goes on to the next one that begins with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "previous", show=False),
        Binding("right", "step(1)", "next", show=False),
        Binding("enter", "pick", "choose", show=False),
    ]

    class Changed(Message):
        """The operator chose."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            """Where it was chosen."""
            return self.choice

    def __init__(self, title: str, choices: Mapping[str, str]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        """Each with what it means."""
        self.value = ""

    def show(self, value: str) -> None:
        """Show this one."""
        if value != self.value:
            self.value = value
            self.update(Content.assemble(("‹ ", "dim"), value, (" ›", "dim")), layout=False)

    def action_step(self, steps: int) -> None:
        """The next or previous one, in a ring."""
        known = list(self._choices)
        self._choose(known[(known.index(self.value) + steps) % len(known)] if self.value in known else known[0])

    def action_pick(self) -> None:
        """Show all with what they mean."""
        self.app.push_screen(Pick(self._title, self._choices, self.value), self._choose)

    def on_key(self, event: events.Key) -> None:
        """Letters choose here, and do nothing elsewhere; space is Enter."""
        if not event.is_printable:
            return
        event.stop()
        event.prevent_default()
        if event.character == " ":
            self.action_pick()
            return
        known = list(self._choices)
        begin = known.index(self.value) + 1 if self.value in known else 0
        ring = known[begin:] + known[:begin]
        self._choose(next((choice for choice in ring if choice.startswith(event.character or " ")), None))

    def on_click(self) -> None:
        """A click shows all."""
        self.action_pick()

    def _choose(self, value: str | None) -> None:
        if value is not None and value != self.value:
            self.show(value)
            self.post_message(self.Changed(self))
