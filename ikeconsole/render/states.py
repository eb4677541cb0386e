"""States as glyph, word and colour, readable without the colour."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rich.text import Text

from engine.control.status import ServerStatus, ServiceStatus

ALARM = "▲"


@dataclass(frozen=True, slots=True)
class StateStyles:
    """The colours of states as Rich styles; by default those of the terminal's own palette."""

    up: str = "green"
    drain: str = "yellow"
    down: str = "bold red"
    disabled: str = "dim"
    unknown: str = "yellow"
    notice: str = "cyan"
    warning: str = "yellow"
    error: str = "bold red"
    quiet: str = "dim"
    bar: str = ""
    bar_over: str = "yellow"
    spark_in: str = "cyan"
    spark_out: str = "magenta"


TERMINAL = StateStyles()
UNCOLOURED = StateStyles(**{field.name: "" for field in fields(StateStyles)})
"""For what is not so any more."""


def server_state(server: ServerStatus, styles: StateStyles = TERMINAL) -> Text:
    """What a real server does for its service: what the operator wants, unless its health forbids it."""
    match server.admin_state, server.health:
        case "disabled", _:
            return Text("✕ disabled", styles.disabled)
        case _, "down":
            return Text("○ down", styles.down)
        case _, "unknown":
            return Text("· unknown", styles.unknown)
        case "drain", _:
            return Text("◐ drain", styles.drain)
        case _:
            return Text("● up", styles.up)


def service_state(service: ServiceStatus, styles: StateStyles = TERMINAL) -> Text:
    """Whether a service serves."""
    match service.state:
        case "up":
            return Text("● up", styles.up)
        case "down":
            return Text("○ down", styles.down)
        case other:
            return Text(f"{ALARM} {other}", styles.warning)


def severity(name: str, styles: StateStyles = TERMINAL) -> Text:
    """The glyph of an event's severity."""
    match name:
        case "info":
            return Text(" ")
        case "notice":
            return Text("•", styles.notice)
        case "warning":
            return Text(ALARM, styles.warning)
        case "error":
            return Text(ALARM, styles.error)
        case _:
            return Text("?")
