"""Shows how the configuration file differs from what runs, and asks whether to apply it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from engine.control.records import ConfigState
from ikeconsole.dialogs.confirm import Confirm
from ikeconsole.widgets.diff_view import DiffView, count_lines


class ShowReload(Confirm):
    """Yes or no to the file on disk."""

    AUTO_FOCUS = "#cancel"

    def __init__(self, state: ConfigState) -> None:
        added, removed = count_lines(state.difference)
        super().__init__(
            "Apply the file on disk?",
            [f"{state.path} differs from what runs: +{added} -{removed} lines.", "What is not valid changes nothing."],
            "Reload",
        )
        self._state = state

    def content(self) -> Iterable[Widget]:
        """The difference."""
        yield DiffView(self._state.difference, id="plan-difference")
