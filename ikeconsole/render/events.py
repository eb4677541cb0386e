"""Events, one line each."""

from __future__ import annotations

from rich.text import Text

from engine.control.records import Event
from ikeconsole.render.columns import printable
from ikeconsole.render.numbers import clock
from ikeconsole.render.states import severity


def event_line(event: Event) -> Text:
    """When, how grave, what kind, and what happened."""
    return Text.assemble(
        (clock(event.at), "dim"), " ", severity(event.severity), f" {printable(event.kind):<16} {printable(event.text)}"
    )
