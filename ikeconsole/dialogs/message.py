"""Says something that is too long, or too important, for a toast."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widgets import Button

from ikeconsole.dialogs.dialog import Dialog


class Message(Dialog[None]):
    """A title and lines that stay until they are read."""

    def buttons(self) -> Iterable[Button]:
        """Close."""
        yield Button("Close", id="close", compact=True)

    def on_button_pressed(self) -> None:
        """Close it."""
        self.dismiss(None)
