"""Asks for a real server's weight."""

from __future__ import annotations

from collections.abc import Iterable

from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.control.status import ServerStatus
from ikeconsole.dialogs.dialog import Dialog

MAX_WEIGHT = 65535


class Weight(Dialog[int | None]):
    """The new weight; None: it stays."""

    def __init__(self, server: ServerStatus) -> None:
        share = f"{100 * server.share:.0f} % of the sessions"
        due = f", {100 * server.weighted_share:.0f} % due by weight" if server.weighted_share > 0 else ""
        super().__init__(
            f"Weight of {server.name}",
            [f"Now {server.weight}: {share}{due}.", "New sessions are shared in proportion; 0 takes none."],
        )
        self._weight = server.weight

    def content(self) -> Iterable[Widget]:
        """The number, and what is wrong with it."""
        with Horizontal(id="weight-entry"):
            yield Static("Weight ", classes="label")
            yield Input(str(self._weight), id="weight", compact=True, max_length=5, restrict=r"\d*")
        yield Static("", id="weight-problem", markup=False)

    def buttons(self) -> Iterable[Button]:
        """Cancel, and on to what it would do."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Continue", id="accept", variant="warning", compact=True)

    def on_mount(self) -> None:
        """Begin with typing."""
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is wrong while it is typed."""
        problem = "" if self._read(event.value) is not None else f"Write a number from 0 to {MAX_WEIGHT}."
        self.query_one("#weight-problem", Static).update(problem)

    def on_input_submitted(self) -> None:
        """Enter goes on, as the button does."""
        self._accept()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        if event.button.id == "accept":
            self._accept()
        else:
            self.dismiss(None)

    def _accept(self) -> None:
        weight = self._read(self.query_one(Input).value)
        if weight is not None:
            self.dismiss(weight)

    @staticmethod
    def _read(text: str) -> int | None:
        return int(text) if text.isascii() and text.isdigit() and int(text) <= MAX_WEIGHT else None
