"""Which engine this is, and how to ask it from another terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Button

from ikeconsole.dialogs.dialog import Dialog
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import age
from ikeconsole.snapshot import Snapshot


class About(Dialog[None]):
    """The engine's version, place and age; `begin` is how a command line to it begins."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", show=False),
        Binding("i,q", "refuse", "close", show=False),
    ]

    def __init__(self, snapshot: Snapshot | None, begin: str) -> None:
        super().__init__("About", [*_engine(snapshot), "", _ELSEWHERE, begin])
        self._begin = begin

    def buttons(self) -> Iterable[Button]:
        """Close, or copy the beginning of the command line."""
        yield Button("Close", id="close", compact=True)
        yield Button("Copy", id="copy", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Do what the button says."""
        if event.button.id == "copy":
            self.action_copy()
        else:
            self.dismiss(None)

    def action_copy(self) -> None:
        """Put the beginning of the command line on the clipboard of the operator's terminal (OSC 52)."""
        self.app.copy_to_clipboard(self._begin)
        self.app.notify(self._begin, title="copied, if your terminal allows it", markup=False)


_ELSEWHERE = "From another terminal, followed by a command or by nothing, which is one more console:"


def _engine(snapshot: Snapshot | None) -> Iterable[str]:
    if snapshot is None:
        return ["No engine has answered yet."]
    hello, status = snapshot.hello, snapshot.status
    return [
        f"ikeconsole {printable(hello.version)} on {printable(hello.host)}, pid {hello.pid}",
        f"runs for {age(status.up_s)} with {printable(hello.config_path)}",
    ]
