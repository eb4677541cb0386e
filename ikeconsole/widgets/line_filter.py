"""A line at the top of a place in which the operator types what is to be shown."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class LineFilter(Input):
    """Hidden until it is opened; every keystroke counts at once, Enter keeps it, Escape brings back what was before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "back", show=False),
        Binding("enter,down", "keep", "keep", show=False),
    ]

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder=placeholder, compact=True)
        self._before = ""
        self.display = False

    def open(self) -> None:
        """Let the operator type."""
        self._before = self.value
        self.display = True
        self.focus()

    def action_keep(self) -> None:
        """Go back to what is shown; an empty line disappears."""
        self.display = bool(self.value)
        self.screen.focus_next("Grid")

    def action_cancel(self) -> None:
        """Bring back what was before."""
        self.value = self._before
        self.action_keep()
