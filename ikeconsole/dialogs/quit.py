"""What is to become of the engine when the console that runs it is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Button

from engine.wording import count
from ikeconsole.dialogs.dialog import Dialog

BACKGROUND = "background"
STOP = "stop"


class Quit(Dialog[str]):
    """Keep the engine running in the background, stop it, or stay; the answer is BACKGROUND, STOP or empty."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "choose('background')", "background"),
        Binding("s", "choose('stop')", "stop"),
    ]

    def __init__(self, sessions: int) -> None:
        carried = f"carries {count(sessions, 'session')}"
        super().__init__(
            "Leave the console",
            [
                f"This console runs the engine itself, and the engine {carried}.",
                "In the background it goes on, and `ikeconsole` attaches to it again.",
                "Stopped, it ends every one of them: their tunnels break at once.",
            ],
        )

    def buttons(self) -> Iterable[Button]:
        """Stay, go on in the background, stop."""
        yield Button("Keep it running (b)", id=BACKGROUND, variant="primary", compact=True)
        yield Button("Stop it (s)", id=STOP, variant="error", compact=True)
        yield Button("Stay", id="stay", compact=True)

    def refusal(self) -> str:
        """Stay."""
        return ""

    def action_choose(self, choice: str) -> None:
        """Answer by key."""
        self.dismiss(choice)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with a button."""
        self.dismiss(event.button.id if event.button.id in (BACKGROUND, STOP) else "")
