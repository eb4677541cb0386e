"""What every dialog has: a frame with a title, lines, and buttons of which the harmless one has the focus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Static

ROOMY = 60
"""From how many columns on the buttons stand side by side."""

Answer = TypeVar("Answer")


class Modal(ModalScreen[Answer]):
    """A screen over the place, which is answered once."""

    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (ROOMY, "-roomy")]  # noqa: RUF012 Textual declares it so

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Leave with an answer; does nothing unless this screen is the one in front."""
        # Keys pressed faster than they are handled reach a screen that was answered: Textual would remove the next one.
        return super().dismiss(result) if self.is_active else AwaitComplete()


class Dialog(Modal[Answer]):
    """A question over the screen; Escape is the harmless answer, `refusal`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "refuse", "cancel"),
        Binding("left,h", "app.focus_previous", "previous", show=False),
        Binding("right,l", "app.focus_next", "next", show=False),
        Binding("up,k,pageup", "scroll_body(-1)", "up", show=False),
        Binding("down,j,pagedown", "scroll_body(1)", "down", show=False),
    ]

    def __init__(self, title: str, lines: Iterable[str] = ()) -> None:
        super().__init__()
        self._title = title
        self._lines = list(lines)

    def compose(self) -> ComposeResult:
        """The frame."""
        frame = Vertical(classes="dialog")
        frame.border_title = Content(self._title)
        with frame:
            with VerticalScroll(classes="dialog-body", can_focus=False):
                for line in self._lines:
                    yield Static(line, markup=False, classes="dialog-line")
                yield from self.content()
            with Horizontal(classes="dialog-buttons"):
                yield from self.buttons()

    def content(self) -> Iterable[Widget]:
        """What stands under the lines."""
        return ()

    def buttons(self) -> Iterable[Button]:
        """The answers, the harmless one first: it gets the focus."""
        raise NotImplementedError

    def refusal(self) -> Answer | None:
        """The harmless answer."""
        return None

    def action_scroll_body(self, lines: int) -> None:
        """Show what the screen was too low for."""
        self.query_one(".dialog-body").scroll_relative(y=lines, animate=False)

    def action_refuse(self) -> None:
        """Give the harmless answer."""
        self.dismiss(self.refusal())
