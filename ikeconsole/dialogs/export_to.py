"""Asks for the file that something is to be written to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from textual.widget import Widget
from textual.widgets import Button, Input, Static

from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.export import ExportError, target


class ExportTo(Dialog[Path]):
    """The file, in which something may stand already; None: nothing is to be written."""

    def __init__(self, title: str, lines: Iterable[str], name: str, suffixes: Sequence[str]) -> None:
        super().__init__(title, lines)
        self._name = name
        self._suffixes = suffixes

    def content(self) -> Iterable[Widget]:
        """The name, and what is wrong with it."""
        yield Input(self._name, compact=True, select_on_focus=False)
        yield Static("", markup=False, classes="dialog-problem")

    def buttons(self) -> Iterable[Button]:
        """Cancel, and write."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Export", id="accept", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Begin with typing."""
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what is wrong while it is typed."""
        self._read(event.value)

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
        path = self._read(self.query_one(Input).value)
        if path is not None:
            self.dismiss(path)

    def _read(self, name: str) -> Path | None:
        said = self.query_one(".dialog-problem", Static)
        try:
            path = target(name, self._suffixes)
        except ExportError as problem:
            said.update(f"▲ {problem}")
            return None
        said.update("")
        return path
