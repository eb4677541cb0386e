"""Asks whether one session is to be forgotten or its whole client."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Button, Static

from engine.control.records import Effect
from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import grouped


class ClearChoice(Dialog[bool | None]):
    """Whether the whole client is meant; None: nothing is to be done."""

    def __init__(self, host: str, sessions: int, of_session: Effect, of_client: Effect) -> None:
        super().__init__(f"Clear {host}")
        self._host = host
        self._sessions = sessions
        self._of_session = of_session
        self._of_client = of_client

    def content(self) -> Iterable[Widget]:
        """What either choice does."""
        yield from _choice("This session", self._of_session)
        yield from _choice(f"All {grouped(self._sessions)} of {self._host}", self._of_client)

    def buttons(self) -> Iterable[Button]:
        """Nothing, less, more."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("This session", id="session", variant="warning", compact=True)
        yield Button(f"All {grouped(self._sessions)}", id="client", variant="warning", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        self.dismiss({"session": False, "client": True}.get(event.button.id or ""))


def _choice(title: str, effect: Effect) -> Iterable[Widget]:
    yield Static(title, markup=False, classes="dialog-heading")
    for line in effect.lines:
        yield Static(printable(line), markup=False, classes="dialog-line dialog-indented")
