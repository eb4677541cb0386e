"""Why a client is where it is, and where it would go next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.widget import Widget
from textual.widgets import Button, Static

from engine.control import calls
from engine.control.records import Explanation
from ikeconsole.changes.asking import ask
from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.render.explanation import explained, unserved

if TYPE_CHECKING:
    from ikeconsole.app import ConsoleApp


class Explained(Dialog[None]):
    """The engine's answers, one for each service that would serve the client."""

    def __init__(self, client: str, answers: list[Explanation]) -> None:
        super().__init__(f"Why is {client} where it is?", () if answers else [unserved(client)])
        self._answers = answers

    def content(self) -> Iterable[Widget]:
        """As the command line shows it."""
        for answer in self._answers:
            yield Static(explained(answer))

    def buttons(self) -> Iterable[Button]:
        """Close."""
        yield Button("Close", id="close", compact=True)

    def on_button_pressed(self) -> None:
        """Close it."""
        self.dismiss(None)


async def explain(app: ConsoleApp, client: str) -> None:
    """Ask the engine about a client and show what it says; runs in a worker."""
    answers: list[Explanation] | None = await ask(app, calls.Explain(client=client), f"explain {client}")
    if answers is not None:
        await app.push_screen_wait(Explained(client, answers))
