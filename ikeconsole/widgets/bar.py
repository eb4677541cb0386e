"""One line that is drawn from the application's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widgets import Static

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


class Bar(Static):
    """A line of text; it is drawn again only when its text changes."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: Content | None = None

    @property
    def console_app(self) -> ConsoleApp:
        """The application."""
        return cast("ConsoleApp", self.app)

    def on_mount(self) -> None:
        """Draw it for the first time."""
        self.show()

    def on_resize(self) -> None:
        """Fit it into the new width."""
        self.show()

    def show(self) -> None:
        """Draw it if it changed."""
        line = self.line(self.size.width)
        if line is None:
            self.display = False
        elif self._drawn is None or not line.is_same(self._drawn):
            self.display = True
            self.update(line)
        self._drawn = line

    def line(self, width: int) -> Content | None:
        """Its text, at most `width` cells; None: it takes no line."""
        raise NotImplementedError


def spread(left: Content, right: Content, width: int) -> Content:
    """`left` and `right` at the two ends of a line; what does not fit is cut from the left one."""
    room = width - right.cell_length - 1
    if room < 0:
        return left.truncate(width, ellipsis=True)
    return Content.assemble(left.truncate(room, ellipsis=True, pad=True), " ", right)
