"""A line above a list: what is shown of how much, and in which order."""

from __future__ import annotations

from textual.content import Content

from ikeconsole.widgets.bar import Bar, spread


class HeadLine(Bar):
    """Words at its two ends, those on the left being cut where there is no room."""

    def __init__(self) -> None:
        super().__init__()
        self._left = self._right = Content("")

    def say(self, left: Content, right: Content) -> None:
        """Show these words from now on."""
        self._left, self._right = left, right
        if self.is_mounted:
            self.show()

    def line(self, width: int) -> Content:
        """Both ends."""
        return spread(self._left, self._right, width)
